"""The websocket: reads frames, starts ops, writes answers.

What an op does is in the services; who is told, in the hub.
"""

import asyncio
import inspect
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
import tornado.websocket
from tornado.iostream import IOStream

from core import tasks
from core.auth import Caller, authenticate
from core.commands import Command, Outcome, Session
from core.errors import AppError, Forbidden, Invalid, Malformed, ServiceUnavailable, Unauthenticated, refusal_of
from core.http import BaseHandler
from core.ids import new_id
from core.metrics import RATE_LIMITED
from core.ports import Posted
from core.wire import rfc3339
from im import metrics, schemas
from im.entries import ack
from im.frames import BATCH, FRAME_BYTES, BadFrame, Close, Request, parse, refusal, reply
from im.limits import Bucket
from im.outgoing import FRAMES, Outgoing
from im.protocol import ChatProtocol

if TYPE_CHECKING:
    from im.hub import Hub

log = structlog.get_logger()

# Requests of one socket that wait for an answer; more are refused as `overloaded`.
PENDING: Final = 256
_HELLO: Final = schemas.Hello()


class ChatSocket(tornado.websocket.WebSocketHandler, BaseHandler):
    """One client. Everything it is sent leaves through one ordered writer; its sends keep their order."""

    out: Outgoing
    budget: Bucket
    session: Session | None = None
    # Something was read since the last protocol ping.
    heard: bool = True
    slot: int = 0
    pending: int = 0
    # Events that wait until the running hello or sync is answered: (payload, conversation or None, seq).
    held: list[tuple[bytes, str | None, int]] | None = None
    syncs: list[tuple[Request, Command, dict[str, Any]]] | None = None
    # Conversations in which a request is still being prepared, with those that must come after it.
    lines: dict[str, list[tuple[Request, Command, dict[str, Any]]]] | None = None

    @property
    def hub(self) -> "Hub":
        """The process's sockets; the application is made with it (`hub=`)."""
        hub: Hub = self.application.settings["hub"]
        return hub

    @property
    def max_message_size(self) -> int:
        """Somewhat longer frames than we take are still read, to close with 4009 and not with Tornado's 1009."""
        return 4 * FRAME_BYTES

    @property
    def ping_interval(self) -> float | None:
        """Tornado's own pings, a task a socket, stay off: the hub pings all sockets from one place."""
        return None

    def get_websocket_protocol(self) -> tornado.websocket.WebSocketProtocol | None:
        """Tornado's, made to tell of text that is none."""
        protocol = super().get_websocket_protocol()
        if isinstance(protocol, tornado.websocket.WebSocketProtocol13):
            return ChatProtocol(self, False, protocol.params)
        return protocol

    def check_origin(self, origin: str) -> bool:
        """Pages of our own host come through by themselves; others must be listed (`allowed_origins=`)."""
        return origin.lower() in self.application.settings.get("allowed_origins", ())

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """The upgrade; a plain request is `malformed`."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise Malformed("此地址仅接受 WebSocket 连接")
        await super().get(*args, **kwargs)

    # --- life --------------------------------------------------------------------------------------------------------

    def open(self, *args: str, **kwargs: str) -> None:
        """A connection; nobody's yet."""
        self.set_nodelay(True)
        per_second = self.ctx.policy.socket_frames_per_second
        self.budget = Bucket(per_second, per_second, asyncio.get_running_loop().time())
        self.out = Outgoing(self._stream(), self.hub.schedule, partial(self.end, Close.TOO_SLOW))
        self.hub.admit(self)

    def _stream(self) -> IOStream:
        stream = self.ws_connection.stream if self.ws_connection is not None else None
        if stream is None:
            raise RuntimeError("a socket is opened on a stream")
        return stream

    def end(self, code: Close, reason: str = "") -> None:
        """Close, once; what was put before and still waits is written first when the kernel takes it."""
        if self.ws_connection is None:
            return
        self.out.flush()
        self.out.close()
        metrics.CLOSES.labels(str(int(code))).inc()
        self.close(int(code), reason or None)
        self.hub.leave(self)

    def drop(self) -> None:
        """The other side no longer answers: let go without waiting for it."""
        self.out.close()
        self.hub.leave(self)
        if self.ws_connection is not None:
            self._stream().close()

    def on_close(self) -> None:
        """The connection has ended, by whomever."""
        self.out.close()
        self.hub.leave(self)
        self.held = self.syncs = self.lines = None

    def beat(self) -> None:
        """Once a heartbeat: one that has said nothing since the last ping is gone, the others are pinged."""
        metrics.OUTGOING.observe(self.out.waiting)
        if not self.heard:
            self.drop()
        elif self.ws_connection is not None and not self.ws_connection.is_closing():
            self.heard = False
            self.ping()

    def on_pong(self, data: bytes) -> None:
        """The client lives."""
        self.heard = True

    # --- in ----------------------------------------------------------------------------------------------------------

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """One frame. While a hello is being answered Tornado reads no further one."""
        metrics.FRAMES_IN.inc()
        self.heard = True
        if self.out.closed:
            return None
        if self.budget.take(asyncio.get_running_loop().time()):
            RATE_LIMITED.labels("chat.frames").inc()
            self.end(Close.RATE_LIMITED, "too many frames a second")
            return None
        try:
            requests = parse(message)
        except BadFrame as error:
            self.end(Close.PROTOCOL_ERROR, str(error))
            return None
        if self.session is None or any(request.op == "hello" for request in requests):
            return self._with_hello(requests)
        for request in requests:
            self._begin(request)
        return None

    async def _with_hello(self, requests: list[Request]) -> None:
        for request in requests:
            if self.out.closed:
                return
            if request.op == "hello":
                await self._hello(request)
            elif self.session is None:
                self.end(Close.PROTOCOL_ERROR, "the first request is hello")
            else:
                self._begin(request)

    # --- hello -------------------------------------------------------------------------------------------------------

    async def _hello(self, request: Request) -> None:
        try:
            args = self._hello_args(request)
            caller = await authenticate(self.ctx, args["token"])
            if self.session is not None:
                self._renew(caller, args["device"])
        except Exception as error:
            self._refuse(request, "hello", error)
            if self.session is None:
                known = isinstance(error, Unauthenticated)
                self.end(Close.UNAUTHENTICATED if known else Close.PROTOCOL_ERROR, "hello was refused")
            return
        if self.session is None and not self.out.closed:
            self.held = []
            await self.hub.enter(self, self._session(caller, args["device"]))
        self._answer(request, "hello", self._welcome())
        self._release({})

    def _hello_args(self, request: Request) -> dict[str, Any]:
        errors = _HELLO.validate(request.args)
        if errors:
            raise Invalid
        return dict(request.args)

    def _session(self, caller: Caller, device: str) -> Session:
        return Session(
            new_id(),
            caller.id,
            caller.role,
            device,
            caller.session,
            caller.expires_at,
            caller.scope,
            caller.call,
            address=self.request.remote_ip or "",
        )

    def _renew(self, caller: Caller, device: str) -> None:
        """The same person on the same device goes on with a new token."""
        session = self.session
        if session is None or (caller.id, device, caller.scope) != (session.account, session.device, session.scope):
            raise Forbidden("只能续期同一账号在同一设备上的登录")
        self.hub.renew(self, caller)

    def _welcome(self) -> dict[str, Any]:
        policy, session = self.ctx.policy, self.session
        return {
            "session": session.id if session else "",
            "account": {"id": session.account, "role": session.role} if session else {},
            "server_time": rfc3339(self.ctx.clock.now()),
            "heartbeat_s": policy.heartbeat_seconds,
            "limits": {
                "frame_bytes": FRAME_BYTES,
                "batch": BATCH,
                "frames_per_second": policy.socket_frames_per_second,
                "messages_per_minute": policy.socket_messages_per_minute,
                "text_characters": schemas.TEXT_HIGH,
            },
        }

    # --- requests ----------------------------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        command = self.hub.commands.get(request.op)
        try:
            if command is None:
                raise Malformed("没有这个操作")
            self._require_may(command)
            args = command.load(request.args)
            if self.pending >= PENDING:
                raise ServiceUnavailable(code="overloaded", retry_after=1)
            if command.holds_events:
                self._sync(request, command, args)
            elif command.ordered and self.lines and (line := self.lines.get(args["conversation"])) is not None:
                self.pending += 1
                line.append((request, command, args))
            else:
                self._run(request, command, args)
        except Exception as error:
            self._refuse(request, request.op if command else "unknown", error)

    def _require_may(self, command: Command) -> None:
        session = self.session
        if session is None or session.role not in command.roles:
            raise Forbidden
        if session.scope == "call" and not command.call_scope:
            raise Forbidden

    def _run(self, request: Request, command: Command, args: dict[str, Any]) -> bool:
        """Start one op; whether it is ordered and not in its place yet."""
        if self.session is None:
            return False
        outcome = command.run(self.hub.chat, self.session, request.id, args)
        if not inspect.iscoroutine(outcome):
            self._settle(request, outcome)
            return False
        self.pending += 1
        if command.ordered:
            self.lines = self.lines if self.lines is not None else {}
            self.lines.setdefault(args["conversation"], [])
        tasks.spawn(f"chat.{request.op}", self._finish(request, command, args, outcome))
        return command.ordered

    async def _finish(self, request: Request, command: Command, args: dict[str, Any], work: Awaitable[Any]) -> None:
        try:
            self._settle(request, await work)
        except Exception as error:
            self._refuse(request, request.op, error)
        finally:
            self.pending -= 1
            if command.ordered:
                self._next_in_line(args["conversation"])

    def _next_in_line(self, conversation: str) -> None:
        """Go on with those that waited for one to be in its place, until one of them must be prepared too."""
        line = self.lines.get(conversation) if self.lines is not None else None
        while line:
            request, command, args = line.pop(0)
            self.pending -= 1
            try:
                if self._run(request, command, args):
                    return
            except Exception as error:
                self._refuse(request, request.op, error)
        if self.lines is not None:
            self.lines.pop(conversation, None)

    def _settle(self, request: Request, outcome: "Outcome | Posted") -> None:
        if isinstance(outcome, asyncio.Future):
            if outcome.done():
                self._placed(request, outcome)
            else:
                self.pending += 1
                outcome.add_done_callback(partial(self._placed_later, request))
        else:
            self._answer(request, request.op, ack(outcome) if isinstance(outcome, Posted) else outcome)  # type: ignore[arg-type]  # what is left of Outcome here is an answer

    def _placed_later(self, request: Request, place: "asyncio.Future[Posted]") -> None:
        self.pending -= 1
        self._placed(request, place)

    def _placed(self, request: Request, place: "asyncio.Future[Posted]") -> None:
        try:
            posted = place.result()
        except Exception as error:
            self._refuse(request, request.op, error)
        else:
            self._answer(request, request.op, ack(posted))

    # --- sync --------------------------------------------------------------------------------------------------------

    def _sync(self, request: Request, command: Command, args: dict[str, Any]) -> None:
        """One at a time: events wait until its answer is on its way, so that they continue what it shows."""
        self.pending += 1
        if self.syncs is not None:
            self.syncs.append((request, command, args))
            return
        self.syncs = []
        tasks.spawn("chat.sync", self._run_syncs(request, command, args))

    async def _run_syncs(self, request: Request, command: Command, args: dict[str, Any]) -> None:
        while True:
            self.held = []
            shown: dict[str, int] = {}
            try:
                if self.session is not None:
                    page: Any = await command.run(self.hub.chat, self.session, request.id, args)  # type: ignore[misc]  # a coroutine
                    self._answer(request, request.op, page)
                    shown = {one["id"]: one["messages"][-1]["seq"] for one in page["conversations"] if one["messages"]}
            except Exception as error:
                self._refuse(request, request.op, error)
            self.pending -= 1
            self._release(shown)
            if not self.syncs:
                self.syncs = None
                return
            request, command, args = self.syncs.pop(0)

    def _release(self, shown: dict[str, int]) -> None:
        """Let the held events go, without the messages that the answer has shown."""
        held, self.held = self.held, None
        for payload, conversation, seq in held or ():
            if conversation is None or seq > shown.get(conversation, 0):
                self.out.put(payload)

    # --- out ---------------------------------------------------------------------------------------------------------

    def push(self, payload: bytes, conversation: str | None = None, seq: int = 0) -> None:
        """An event, encoded; a message's with its place."""
        if self.held is None:
            self.out.put(payload)
            return
        self.held.append((payload, conversation, seq))
        if self.out.is_over(len(self.held), 0) and len(self.held) > FRAMES:
            self.held = []
            self.end(Close.TOO_SLOW)

    def _answer(self, request: Request, op: str, data: dict[str, Any]) -> None:
        self.out.put(reply(request.id, data))
        metrics.count(op, "ok")

    def _refuse(self, request: Request, op: str, error: Exception) -> None:
        refused = refusal_of(error)
        if refused is None:
            session = self.session.id if self.session else None
            log.error("chat.unexpected", op=op, session=session, exc_info=error)
            refused = AppError()
        self.out.put(refusal(request.id, refused))
        metrics.count(op, refused.code)
