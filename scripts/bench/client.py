"""The load client, a process of its own: reads a plan as JSON on standard input, prints what it measured as JSON.

Three kinds of load. `closed`: every sender sends its next message when the last was acknowledged. `open`: messages at a
fixed rate, whatever becomes of them; latency counts from the moment a message was due. `idle`: sockets that have said
hello and nothing more. The client samples the server's CPU time and memory itself, so that the samples lie exactly at
the ends of what is measured.

The same plan drives the hospital and the bare server of `scripts.bench.echo`: one message a frame, the same texts.
"""

import asyncio
import json
import resource
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

import uvloop

from core import tasks
from scripts.bench.figures import percentile
from scripts.bench.sampling import cpu_seconds, resident_bytes
from scripts.bench.scrape import NotCounted, buckets_of, exposition, quantile
from scripts.bench.wire import Wire

TEXT: Final = "您好医生，昨晚又咳了两次，今天早上已经不发烧了，药还要继续吃吗？"
LAG: Final = "event_loop_lag_seconds"
# Ids of this length let the bare server answer without reading JSON.
ID_LENGTH: Final = 16
# Connections that are being opened at the same time.
_OPENING: Final = 64
_HELLO_SECONDS: Final = 30.0
_LAST_WORDS_SECONDS: Final = 15.0
_PACE_SECONDS: Final = 0.001
_PROBE_SECONDS: Final = 0.05

T = TypeVar("T")


class LoadFailed(Exception):
    """The server did not do what the load takes for granted; what was measured is worth nothing."""


@dataclass(frozen=True)
class Seat:
    """One socket: where it connects, and its hello's arguments."""

    path: str
    token: str
    device: str


@dataclass(frozen=True)
class Pair:
    """Two who talk: seats by their place in the plan, and their conversation."""

    sender: int
    peer: int
    conversation: str


@dataclass(frozen=True)
class Plan:
    """What to do. `pid` is the server's; `warm_seconds` come before what counts, `settle_seconds` after the last hello
    of an idle load, of which the first `warm_seats` are not counted; `probe` is a seat that asks `ping` all the time;
    `lag` reads from the server's own count how late its event loop was.
    """

    kind: str
    host: str
    port: int
    pid: int
    seats: list[Seat]
    pairs: list[Pair] = field(default_factory=list)
    warm_seconds: float = 1.0
    seconds: float = 4.0
    rate: float = 0.0
    warm_seats: int = 0
    settle_seconds: float = 2.0
    probe: int | None = None
    lag: bool = False

    def to_json(self) -> str:
        """As standard input takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The reverse of `to_json`."""
        given = json.loads(text)
        seats = [Seat(**seat) for seat in given.pop("seats")]
        pairs = [Pair(**pair) for pair in given.pop("pairs")]
        return cls(seats=seats, pairs=pairs, **given)


def request(id_: str, op: str, args: Mapping[str, Any]) -> bytes:
    """One request as a frame."""
    return json.dumps({"id": id_, "op": op, "args": args}, ensure_ascii=False, separators=(",", ":")).encode()


class Client:
    """One socket of the plan: says hello, asks, counts what it is told."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.told = 0  # messages pushed to it
        self.answered: Callable[[str], None] = lambda id_: None
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire: Wire | None = None

    async def enter(self, host: str, port: int) -> None:
        """Connected and welcome. LoadFailed or OSError otherwise."""
        self._wire = wire = await Wire.open(host, port, self.seat.path, self._read)
        hello = {"token": self.seat.token, "device": self.seat.device, "client": "bench"}
        wire.send(request("hello", "hello", hello))
        await asyncio.wait((self._hello, wire.closed), return_when=asyncio.FIRST_COMPLETED)
        if not self._hello.done():
            raise LoadFailed(f"closed with {wire.closed.result()} before the hello was answered")
        await self._hello

    def send(self, frame: bytes) -> None:
        """One frame."""
        assert self._wire is not None
        self._wire.send(frame)

    @property
    def lives(self) -> bool:
        """Whether the server has kept the connection."""
        return self._wire is not None and not self._wire.closed.done()

    async def ended(self) -> tuple[int | None, str]:
        """Wait for its end: close code and reason, None and empty where there was no connection or no farewell."""
        if self._wire is None:
            return None, ""
        return await self._wire.closed, self._wire.reason

    def drop(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.drop()

    def _read(self, frame: bytes) -> None:
        said = json.loads(frame)
        for one in said if isinstance(said, list) else (said,):
            if "ev" in one:
                self.told += one["ev"] == "message.created"
            elif not one["ok"]:
                self._fail(f"refused: {one['error']['code']}")
            elif one["re"] == "hello":
                self._hello.set_result(None)
            else:
                self.answered(one["re"])

    def _fail(self, why: str) -> None:
        if self._hello.done():
            raise LoadFailed(why)
        self._hello.set_exception(LoadFailed(why))


class Talker:
    """One sender: its messages under way, and the latencies of those that were acknowledged while it counted.

    What is measured is not read from uvloop's clock, which is cut to milliseconds.
    """

    def __init__(self, client: Client, conversation: str) -> None:
        args = {"conversation": conversation, "kind": "text", "body": {"text": TEXT}}
        # The id is put in front of the rest, which is the same for every message.
        self._rest = request("", "message.send", args).removeprefix(b'{"id":"')
        self._client = client
        self._run = secrets.token_hex(5)
        self._due: dict[str, float] = {}
        self._clock = time.perf_counter
        self.sent = 0
        self.latencies: list[float] = []
        self.counts = False
        self.goes_on = False
        client.answered = self._answered

    @property
    def waiting(self) -> int:
        """Messages without an answer yet."""
        return len(self._due)

    def send(self, due: float | None = None) -> None:
        """One message; its latency counts from `due`, or from now."""
        id_ = f"{self._run}{self.sent:06d}"
        self.sent += 1
        self._due[id_] = self._clock() if due is None else due
        self._client.send(b'{"id":"' + id_.encode() + self._rest)

    def _answered(self, id_: str) -> None:
        due = self._due.pop(id_)
        if self.counts:
            self.latencies.append(self._clock() - due)
        if self.goes_on:
            self.send()


class Probe:
    """Asks `ping` at a steady pace: an op that waits for nothing but the server's event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._clock = time.perf_counter
        self._asked = 0.0
        self.lags: list[float] = []
        client.answered = self._answered

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._asked = self._clock()
            self._client.send(request("probe", "ping", {}))
            await asyncio.sleep(_PROBE_SECONDS)

    def _answered(self, id_: str) -> None:
        self.lags.append(self._clock() - self._asked)


@dataclass
class Window:
    """The server's CPU time and the clock at the two ends of what is measured."""

    pid: int
    began: float = 0.0
    cpu: float = 0.0
    seconds: float = 0.0

    def begin(self) -> None:
        """From here on."""
        self.began, self.cpu = time.perf_counter(), cpu_seconds(self.pid)

    def end(self) -> None:
        """Up to here."""
        self.seconds = time.perf_counter() - self.began
        self.cpu = cpu_seconds(self.pid) - self.cpu


async def enter_all(clients: Sequence[Client], host: str, port: int) -> None:
    """All say hello, so many at a time."""
    places = asyncio.Semaphore(_OPENING)

    async def enter(client: Client) -> None:
        async with places:
            try:
                async with asyncio.timeout(_HELLO_SECONDS):
                    await client.enter(host, port)
            except TimeoutError:
                raise LoadFailed(f"no answer to a hello within {_HELLO_SECONDS:g} s") from None

    await _together(enter(client) for client in clients)


async def _together(works: Iterable[Awaitable[T]]) -> list[T]:
    """All of them, the first failure as it is."""
    return await asyncio.gather(*works)


async def talk(plan: Plan, clients: Sequence[Client]) -> dict[str, float]:
    """A closed or an open load; messages acknowledged a second, CPU an exchange, latencies in milliseconds."""
    talkers = [Talker(clients[pair.sender], pair.conversation) for pair in plan.pairs]
    probe = Probe(clients[plan.probe]) if plan.probe is not None else None
    probing = tasks.spawn("bench.probe", probe.run()) if probe else None
    window = Window(plan.pid)
    lags: list[asyncio.Task[str]] = []

    def look() -> None:
        if plan.lag:
            lags.append(tasks.spawn("bench.scrape", exposition(plan.host, plan.port)))

    def begin() -> None:
        window.begin()
        look()
        for talker in talkers:
            talker.counts = True
        if probe is not None:
            probe.lags.clear()

    drive = _in_turn if plan.kind == "open" else _back_to_back
    await drive(plan, talkers, begin)
    window.end()
    look()
    for talker in talkers:
        talker.counts = False
    latencies = [latency for talker in talkers for latency in talker.latencies]
    await tasks.stop(probing)
    await _until_all_told(plan, talkers, clients)
    measured = {
        "acks_per_second": len(latencies) / window.seconds,
        "cpu_ms_per_exchange": window.cpu / len(latencies) * 1000,
        "ack_p50_ms": statistics.median(latencies) * 1000,
        "ack_p95_ms": percentile(latencies, 0.95) * 1000,
        "ack_p99_ms": percentile(latencies, 0.99) * 1000,
        "server_mib": resident_bytes(plan.pid) / 2**20,
    }
    if probe is not None and probe.lags:
        measured |= {
            "lag_p50_ms": statistics.median(probe.lags) * 1000,
            "lag_p99_ms": percentile(probe.lags, 0.99) * 1000,
        }
    if lags:
        before, after = (buckets_of(text, LAG) for text in await _together(lags))
        measured["loop_lag_p99_ms"] = quantile(before, after, 0.99) * 1000
    return measured


async def _back_to_back(plan: Plan, talkers: Sequence[Talker], begin: Callable[[], None]) -> None:
    for talker in talkers:
        talker.goes_on = True
        talker.send()
    await asyncio.sleep(plan.warm_seconds)
    begin()
    await asyncio.sleep(plan.seconds)
    for talker in talkers:
        talker.goes_on = False


async def _in_turn(plan: Plan, talkers: Sequence[Talker], begin: Callable[[], None]) -> None:
    began = time.perf_counter()
    sent = 0
    counting = False
    while (gone := time.perf_counter() - began) < plan.warm_seconds + plan.seconds:
        if not counting and gone >= plan.warm_seconds:
            counting = True
            begin()
        while sent < gone * plan.rate:
            talkers[sent % len(talkers)].send(began + sent / plan.rate)
            sent += 1
        await asyncio.sleep(_PACE_SECONDS)


async def _until_all_told(plan: Plan, talkers: Sequence[Talker], clients: Sequence[Client]) -> None:
    """Every message is answered and has reached the peer, or what was measured is no exchange: LoadFailed."""

    def missing() -> int:
        peers = sum(clients[pair.peer].told for pair in plan.pairs)
        return sum(talker.waiting for talker in talkers) + sum(talker.sent for talker in talkers) - peers

    loop = asyncio.get_running_loop()
    until = loop.time() + _LAST_WORDS_SECONDS
    while missing() and loop.time() < until:  # noqa: ASYNC110 -- counted by many clients, and nothing hurries
        await asyncio.sleep(0.01)
    if missing():
        raise LoadFailed(f"{missing()} answers or pushes did not come")


async def stay(plan: Plan, clients: Sequence[Client]) -> dict[str, float]:
    """An idle load; memory and CPU a connection."""
    warm, counted = clients[: plan.warm_seats], clients[plan.warm_seats :]
    await enter_all(warm, plan.host, plan.port)
    await asyncio.sleep(plan.settle_seconds)
    before = resident_bytes(plan.pid)
    window = Window(plan.pid)
    window.begin()
    await enter_all(counted, plan.host, plan.port)
    window.end()
    await asyncio.sleep(plan.settle_seconds)
    grown = resident_bytes(plan.pid) - before
    lost = sum(not client.lives for client in clients)
    if lost:
        raise LoadFailed(f"{lost} of {len(clients)} idle connections were lost")
    return {
        "bytes_per_connection": grown / len(counted),
        "cpu_ms_per_connect": window.cpu / len(counted) * 1000,
        "connects_per_second": len(counted) / window.seconds,
        "server_mib": resident_bytes(plan.pid) / 2**20,
    }


async def run(plan: Plan) -> dict[str, float]:
    """Carry the plan out. LoadFailed or OSError when the server does not play along."""
    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: failures.append(context.get("exception") or LoadFailed(context["message"]))
    )
    clients = [Client(seat) for seat in plan.seats]
    try:
        if plan.kind == "idle":
            measured = await stay(plan, clients)
        else:
            await enter_all(clients, plan.host, plan.port)
            measured = await talk(plan, clients)
    finally:
        for client in clients:
            client.drop()
    if failures:
        raise failures[0]
    return measured


def main() -> int:
    """The plan in, the figures out; a load that could not be carried out is one line and 1."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        measured = uvloop.run(run(Plan.from_json(sys.stdin.read())))
    except (LoadFailed, NotCounted, OSError) as error:
        print(f"load: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
