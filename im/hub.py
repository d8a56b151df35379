"""All sockets of one process: who is here, what is pushed to whom, which must go."""

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import tasks
from core.auth import Caller
from core.commands import Command, Session
from core.metrics import RATE_LIMITED
from im import metrics
from im.chat import Chat
from im.commands import COMMANDS
from im.frames import Close, event
from im.limits import Bucket
from im.wheel import Wheel

if TYPE_CHECKING:
    from core.context import Context
    from im.outgoing import Outgoing
    from im.socket import ChatSocket
    from storage.bus import Envelope

log = structlog.get_logger()

DRAIN_SECONDS: Final = 30.0
# How long whom we turn away is asked to stay away, spread so that they do not come back together.
_AWAY_MS: Final = (1_000, 10_000)
# A socket this old is the older one, whatever two machines' clocks make of the order of two sessions.
_SURELY_OLDER_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 1.0


class Hub:
    """Made with the context, started inside the running loop. The application holds it as its setting `hub`."""

    def __init__(self, ctx: "Context", commands: Mapping[str, Command] = COMMANDS) -> None:
        self.chat = Chat(ctx)
        self.commands = commands
        self._ctx = ctx
        self._loop = asyncio.get_event_loop()
        self._accounts: dict[str, list[ChatSocket]] = {}
        self._dirty: list[Outgoing] = []
        self._wheel = Wheel(ctx.policy.heartbeat_seconds)
        accepts = ctx.policy.socket_accepts_per_second
        self._accepts = Bucket(accepts, accepts, self._loop.time())
        self._turning: asyncio.Task[None] | None = None
        self._draining = False

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen to the bus and begin to ping."""
        bus = self._ctx.bus
        bus.on_events = self.deliver
        bus.on("socket.opened", self._opened_elsewhere)
        bus.on("session.revoked", self._revoked)
        self._turning = tasks.spawn("chat.wheel", self._turn_forever())

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Take no new sockets, and send those that are here away, spread over `seconds`; returns when all have gone."""
        self._draining = True
        for stranger in self._wheel.strangers():
            stranger.end(Close.DRAINING)
        leaving = [(random.uniform(0, seconds), socket) for socket in self._sockets()]  # noqa: S311 - spread, not secrecy
        leaving.sort(key=lambda pair: pair[0])
        for after, socket in leaving:
            socket.push(event("drain", {"reconnect_after_ms": round(after * 1000)}))
        began = self._loop.time()
        for after, socket in leaving:
            wait = began + after - self._loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            socket.end(Close.DRAINING)

    async def stop(self) -> None:
        """End what is left."""
        self._draining = True
        for socket in [*self._sockets(), *self._wheel.strangers()]:
            socket.end(Close.DRAINING)
        await tasks.stop(self._turning)
        self._ctx.bus.on_events = None

    def _sockets(self) -> "list[ChatSocket]":
        return [socket for sockets in self._accounts.values() for socket in sockets]

    async def _turn_forever(self) -> None:
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            self.turn()

    def turn(self) -> None:
        """One second of the wheel."""
        try:
            self._wheel.turn(self._loop.time(), self._ctx.clock.now().timestamp())
        except Exception:
            log.exception("chat.wheel_failed")

    # --- coming and going --------------------------------------------------------------------------------------------

    def admit(self, socket: "ChatSocket") -> None:
        """Let a new connection in, or turn it away while too many come or this process is going."""
        now = self._loop.time()
        if self._draining:
            socket.end(Close.DRAINING)
        elif self._accepts.take(now):
            RATE_LIMITED.labels("chat.accepts").inc()
            socket.end(Close.OVERLOADED, f"retry_after_ms={random.randint(*_AWAY_MS)}")  # noqa: S311 - spread, not secrecy
        else:
            self._wheel.await_hello(socket, now)

    async def enter(self, socket: "ChatSocket", session: Session) -> None:
        """The socket is this session's from here on. On return every process knows where to send its events."""
        session.opened_at = self._loop.time()
        socket.session = session
        for other in self._of_device(session.account, session.device):
            self._replace(other, session.id)
        self._accounts.setdefault(session.account, []).append(socket)
        self._wheel.add(socket, session.expires_at)
        metrics.SOCKETS.inc()
        await self._ctx.bus.present(session.account)
        opened = {"account": session.account, "device": session.device, "session": session.id}
        tasks.spawn("chat.opened", self._ctx.bus.broadcast("socket.opened", opened))

    def renew(self, socket: "ChatSocket", caller: Caller) -> None:
        """The socket's token has been renewed."""
        session = socket.session
        if session is not None:
            self._wheel.renew(socket, session.expires_at, caller.expires_at)
            session.expires_at = caller.expires_at
            session.login = caller.session

    def leave(self, socket: "ChatSocket") -> None:
        """The socket has closed or is being closed; a second time does nothing."""
        session, socket.session = socket.session, None
        self._wheel.remove(socket, session.expires_at if session is not None else None)
        if session is None:
            return
        metrics.SOCKETS.dec()
        sockets = self._accounts[session.account]
        sockets.remove(socket)
        if not sockets:
            del self._accounts[session.account]
            tasks.spawn("chat.absent", self._absent(session.account))

    async def _absent(self, account: str) -> None:
        # The account may have come back before this task ran.
        if account not in self._accounts:
            await self._ctx.bus.absent(account)

    def _of_device(self, account: str, device: str) -> "list[ChatSocket]":
        return [
            socket
            for socket in self._accounts.get(account, ())
            if socket.session is not None and socket.session.device == device
        ]

    def _replace(self, socket: "ChatSocket", by: str) -> None:
        socket.push(event("session.replaced", {"session": by}))
        socket.end(Close.REPLACED, "this device opened a newer socket")

    def _opened_elsewhere(self, opened: dict[str, str]) -> None:
        """Some process has a newer socket of the device; of two that opened at once the higher session stays."""
        for socket in self._of_device(opened["account"], opened["device"]):
            session = socket.session
            if session is None or session.id == opened["session"]:
                continue
            is_older = self._loop.time() - session.opened_at > _SURELY_OLDER_SECONDS
            if session.id < opened["session"] or is_older:
                self._replace(socket, opened["session"])

    def _revoked(self, revoked: dict[str, str]) -> None:
        """A login (`session`) or all of an account's (`account`) have been called back."""
        account, login = revoked.get("account"), revoked.get("session")
        sockets = self._sockets() if account is None else list(self._accounts.get(account, ()))
        for socket in sockets:
            if login is None or (socket.session is not None and socket.session.login == login):
                socket.end(Close.UNAUTHENTICATED, "the session was revoked")

    # --- events ------------------------------------------------------------------------------------------------------

    def deliver(self, envelopes: "list[Envelope]") -> None:
        """Push events to this process's sockets of their accounts; each is encoded once."""
        for envelope in envelopes:
            name, data = envelope["ev"], envelope["data"]
            conversation, seq = _place(name, data)
            if conversation is not None:
                self.chat.journal.learn(conversation, seq)
            payload = None
            for account in envelope["to"]:
                # A push may end its socket, which takes it out of the list.
                for socket in tuple(self._accounts.get(account, ())):
                    if not _may_see(socket.session, name, data):
                        continue
                    payload = payload or event(name, data)
                    socket.push(payload, conversation, seq)

    def schedule(self, outgoing: "Outgoing") -> None:
        """Write this socket's frame in the next turn of the loop, together with what else is said until then."""
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(outgoing)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for outgoing in dirty:
            outgoing.flush()


def _place(name: str, data: Mapping[str, Any]) -> tuple[str | None, int]:
    return (data["conversation"], data["seq"]) if name == "message.created" else (None, 0)


def _may_see(session: Session | None, name: str, data: Mapping[str, Any]) -> bool:
    """A token that is bound to one call sees that call's events and no others."""
    if session is None or session.scope != "call":
        return True
    return name.startswith("call.") and data.get("call", data.get("id")) == session.call
