"""Processes of the chat in the test's own: real stores, real sockets; visits are written straight into the store."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.websocket import WebSocketClientConnection, websocket_connect

from core import tasks
from core.audit import AuditTrail
from core.auth import TokenSigner
from core.context import Context
from core.http import HospitalApplication
from core.ids import new_id
from core.policy import Policy
from im.commands import COMMANDS
from im.handlers import REST_ROUTES, SOCKET_ROUTES
from im.hub import Hub
from im.journal import Journal
from storage.audit import AuditEntryRepository
from storage.bus import Bus
from storage.conversations import ConversationRepository
from storage.encryption import FieldCipher
from storage.limits import RateLimiter
from storage.media import MediaRepository
from storage.messages import MessageRepository
from storage.mongo import Store
from storage.redis import Redis, connect
from storage.revocations import Revocations
from storage.visits import VisitRepository

WAIT_SECONDS = 8
TOKENS = TokenSigner({"k1": b"t" * 32}, "k1")
CIPHER = FieldCipher({"f1": b"f" * 32}, "f1", b"i" * 32)


@dataclass
class PartialContext:
    """What the chat uses of `core.context.Context`."""

    process: str
    clock: Any
    policy: Any
    tokens: Any
    cipher: Any
    store: Any
    visits: Any
    conversations: Any
    messages: Any
    media: Any
    bus: Any
    limiter: Any
    revocations: Any
    journal: Any
    audit: Any
    live_calls: Any


@dataclass
class LiveCalls:
    """Stands in for `core.ports.Calls`: one live call, or none."""

    call: dict[str, Any] | None = None

    async def of(self, account: str, role: str) -> dict[str, Any] | None:
        return self.call


@dataclass
class Process:
    """One process: its hub listens on a port of its own, its bus is one end of the common Redis."""

    ctx: Context
    hub: Hub
    journal: Journal
    bus: Bus
    server: HTTPServer
    port: int
    lines: list["Line"] = field(default_factory=list)

    async def line(self, account: str, role: str = "patient", **how: Any) -> "Line":
        """A socket of this account that has said hello; closed with the process."""
        opened = await self.open()
        await opened.hello(token(self.ctx, account, role, **how.pop("claims", {})), **how)
        return opened

    async def open(self, **headers: str) -> "Line":
        """A socket that has said nothing."""
        request = HTTPRequest(f"ws://127.0.0.1:{self.port}/ws", headers=headers)
        opened = Line(await websocket_connect(request, ping_interval=None))
        self.lines.append(opened)
        return opened


@asynccontextmanager
async def process(
    store: Store,
    redis_url: str,
    clock: Any,
    *,
    policy: Policy | None = None,
    name: str | None = None,
    commands: Any = COMMANDS,
    **replaced: Any,
) -> Any:
    """Start one; `replaced` puts a stand-in into the context (`messages=`)."""
    redis: Redis = connect(redis_url)
    name = name or new_id()
    bus = Bus(redis, name)
    await bus.start()
    limiter = RateLimiter(redis_url)
    rules = policy or Policy(socket_messages_per_minute=100_000, socket_frames_per_second=10_000)
    made: dict[str, Any] = {
        "visits": VisitRepository(store),
        "conversations": ConversationRepository(store),
        "messages": MessageRepository(store),
        "media": MediaRepository(store),
        "audit": AuditTrail(AuditEntryRepository(store)),
    } | replaced
    journal = Journal(made["messages"], made["conversations"], made["visits"], bus, CIPHER, clock, rules)
    ctx = cast(
        "Context",
        PartialContext(
            process=name,
            clock=clock,
            policy=rules,
            tokens=TOKENS,
            cipher=CIPHER,
            store=store,
            bus=bus,
            limiter=limiter,
            revocations=Revocations(redis),
            journal=journal,
            live_calls=LiveCalls(),
            **made,
        ),
    )
    hub = Hub(ctx, commands)
    journal.start()
    hub.start()
    socket, port = bind_unused_port()
    server = HTTPServer(
        HospitalApplication(ctx, [*REST_ROUTES, *SOCKET_ROUTES], hub=hub, allowed_origins=["https://h5.example.org"])
    )
    server.add_sockets([socket])
    running = Process(ctx, hub, journal, bus, server, port)
    try:
        yield running
    finally:
        server.stop()
        for line in running.lines:
            await line.close()
        await hub.stop()
        await server.close_all_connections()
        await journal.stop()
        await bus.stop()
        await limiter.close()
        await redis.aclose()


def token(ctx: Context, account: str, role: str = "patient", **claims: Any) -> str:
    """An access token of this account."""
    given: dict[str, Any] = {
        "audience": "patient" if role == "patient" else "staff",
        "session": "login-" + account,
        "epoch": 0,
        "now": ctx.clock.now(),
        "seconds": 900,
    }
    return ctx.tokens.issue(account=account, role=role, **given | claims)


@dataclass
class Visit:
    """A visit in the store: its conversation has the same id."""

    id: str
    patient: str
    doctor: str


async def add_visit(store: Store, status: str = "in_progress", doctor: str | None = None) -> Visit:
    """A visit with its two members, written as the visits feature would have left it."""
    visit = Visit(new_id(), new_id(), doctor or new_id())
    await store.db["visits"].insert_one(
        {
            "_id": visit.id,
            "status": status,
            "kind": "consult",
            "patient_account": visit.patient,
            "doctor_id": visit.doctor,
            "duties": [],
        }
    )
    return visit


async def move_visit(running: Process, visit: Visit, status: str) -> None:
    """The visit moves, and every process is told, as `core.visits` does it."""
    await running.ctx.store.db["visits"].update_one({"_id": visit.id}, {"$set": {"status": status}})
    await running.bus.broadcast("visit.moved", {"visit": visit.id})


async def stored(store: Store, conversation: str) -> list[dict[str, Any]]:
    """The conversation's messages as they lie in the store, by number."""
    found = await store.db["messages"].find({"conversation": conversation}).to_list(None)
    return sorted(found, key=lambda message: message["seq"])


async def until(holds: Callable[[], Any]) -> None:
    """Wait, within bounds, for what no event tells of."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110 - the state of another task, which sets no event
            await asyncio.sleep(0.005)


class Refused(Exception):
    """A request was answered with an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["code"])
        self.code = error["code"]
        self.error = error


class Line:
    """The client's end of a socket: answers by id, events in the order of their arrival."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.frames: list[Any] = []
        self.session = ""
        self.welcome: dict[str, Any] = {}
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._told = asyncio.Condition()
        self._closed = asyncio.Event()
        self._sent = 0
        self._reading = tasks.spawn("test.line", self._read())

    async def _read(self) -> None:
        while (frame := await self.connection.read_message()) is not None:
            said = json.loads(frame)
            self.frames.append(said)
            for one in said if isinstance(said, list) else [said]:
                if "ev" in one:
                    self.events.append(one)
                elif (answer := self._answers.pop(one["re"], None)) is not None and not answer.done():
                    answer.set_result(one)
            async with self._told:
                self._told.notify_all()
        self._closed.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("closed"))
                answer.exception()

    async def hello(self, token: str, device: str = "device-1", client: str = "test/1") -> dict[str, Any]:
        """Say hello and keep the welcome."""
        self.welcome = await self.request("hello", token=token, device=device, client=client)
        self.session = self.welcome["session"]
        return self.welcome

    def ask(self, op: str, /, id: str | None = None, **args: Any) -> "tuple[dict[str, Any], asyncio.Future[Any]]":
        """A request's frame and what will be its answer."""
        self._sent += 1
        name = id or f"r{self._sent}"
        self._answers[name] = answer = asyncio.get_running_loop().create_future()
        return {"id": name, "op": op, "args": args}, answer

    async def write(self, frame: Any) -> None:
        """Send a frame, as it is when it is text or bytes."""
        raw = frame if isinstance(frame, str | bytes) else json.dumps(frame, ensure_ascii=False)
        if isinstance(raw, str) and any("\ud800" <= char <= "\udfff" for char in raw):
            raw = json.dumps(frame)  # halves of surrogate pairs travel only escaped
        await self.connection.write_message(raw, binary=isinstance(raw, bytes))

    async def request(self, op: str, /, id: str | None = None, **args: Any) -> Any:
        """The data of the answer; `Refused` for an error."""
        frame, answer = self.ask(op, id, **args)
        await self.write(frame)
        return await self.answer(answer)

    async def batch(self, *requests: "tuple[dict[str, Any], asyncio.Future[Any]]") -> list[Any]:
        """Several requests in one frame, and their answers; an error stands among them as `Refused`."""
        await self.write([frame for frame, _ in requests])
        return await asyncio.gather(*(self.answer(answer) for _, answer in requests), return_exceptions=True)

    async def answer(self, answer: "asyncio.Future[Any]") -> Any:
        said = await asyncio.wait_for(answer, WAIT_SECONDS)
        if not said["ok"]:
            raise Refused(said["error"])
        return said["data"]

    async def say(self, visit: Visit, text: str, id: str | None = None) -> Any:
        """Send a text; its ack."""
        return await self.request("message.send", id, conversation=visit.id, kind="text", body={"text": text})

    async def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The first event of this name whose data has what is wanted, whether it came already or comes yet."""

        def found() -> dict[str, Any] | None:
            for one in self.events:
                if one["ev"] == name and all(one["data"].get(key) == value for key, value in wanted.items()):
                    return cast("dict[str, Any]", one["data"])
            return None

        async with asyncio.timeout(WAIT_SECONDS), self._told:
            await self._told.wait_for(lambda: found() is not None)
        return cast("dict[str, Any]", found())

    def said(self, visit: Visit) -> list[tuple[int, Any]]:
        """Number and body of the messages pushed so far."""
        pushed = [one["data"] for one in self.events if one["ev"] == "message.created"]
        return [(one["seq"], one["body"]) for one in pushed if one["conversation"] == visit.id]

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end: code and reason."""
        await asyncio.wait_for(self._closed.wait(), WAIT_SECONDS)
        return self.connection.close_code, self.connection.close_reason

    async def close(self) -> None:
        self.connection.close(1000)
        await asyncio.wait_for(self._closed.wait(), WAIT_SECONDS)
        await self._reading
