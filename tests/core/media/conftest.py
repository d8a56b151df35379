"""A hospital with media only: real stores, a clock that is stepped, the workshop with its real child processes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core.auth import Caller, TokenSigner
from core.context import Context, Secrets
from core.http import HospitalApplication
from core.ids import new_id
from core.media import intake
from core.media.handlers import ROUTES
from core.media.workshop import Workshop
from core.policy import MIB, Policy
from core.uploads.handlers import ROUTES as UPLOAD_ROUTES
from storage.files import FileStore
from storage.indexes import ensure_indexes
from storage.limits import RateLimiter
from storage.media import Media, MediaRepository
from storage.pieces import PieceStore
from storage.revocations import Revocations
from storage.uploads import UploadRepository
from tests.clock import SettableClock


@dataclass
class PartialContext:
    """What media use of `core.context.Context`."""

    clock: Any
    policy: Any
    secrets: Any
    tokens: Any
    store: Any
    media: Any
    files: Any
    uploads: Any
    pieces: Any
    limiter: Any
    revocations: Any
    workshop: Any


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture(scope="module")
def limiter(io_loop, redis_url):
    made = RateLimiter(redis_url)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture(scope="module")
def workshop(io_loop):
    made = Workshop()
    io_loop.run_sync(made.start)
    yield made
    io_loop.run_sync(made.stop)


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def ctx(io_loop, indexed, redis, limiter, workshop, clock) -> Context:
    async def empty():
        await redis.flushall()
        for name in ("media", "files.files", "files.chunks", "uploads", "upload_pieces"):
            await indexed.db[name].delete_many({})

    io_loop.run_sync(empty)
    made = PartialContext(
        clock=clock,
        policy=Policy(
            media_image_bytes=MIB, media_video_bytes=2 * MIB, media_file_bytes=MIB, media_orphan_seconds=3600
        ),
        secrets=Secrets(codes=b"c" * 32, links=b"l" * 32),
        tokens=TokenSigner({"k1": b"t" * 32}, "k1"),
        store=indexed,
        media=MediaRepository(indexed),
        files=FileStore(indexed),
        uploads=UploadRepository(indexed),
        pieces=PieceStore(indexed),
        limiter=limiter,
        revocations=Revocations(redis),
        workshop=workshop,
    )
    return cast("Context", made)


def with_policy(ctx: Context, **changes: int) -> Context:
    """The same hospital under other rules."""
    return replace(ctx, policy=replace(ctx.policy, **changes))


async def left_in(ctx: Context) -> dict[str, int]:
    """How many documents of media, files and chunks there are."""
    counts = {}
    for name in ("media", "files.files", "files.chunks"):
        counts[name] = len(await ctx.store.db[name].find({}).to_list(None))
    return counts


async def until(holds: Callable[[], Awaitable[bool] | bool], *, seconds: float = 5) -> None:
    """Wait for what has no event to wait for: another process's end, the last effect of a lost connection."""
    async with asyncio.timeout(seconds):
        while True:
            held = holds()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


NOTHING = {"media": 0, "files.files": 0, "files.chunks": 0}


async def upload(ctx: Context, data: bytes, *, owner: str = "owner", declared: str = "") -> Media:
    """A ready medium, uploaded in pieces."""
    coming = intake.Intake(ctx, owner=owner, declared=declared, announced=len(data))
    for start in range(0, len(data), 50_000):
        await coming.take(data[start : start + 50_000])
    return await coming.finish()


def caller_of(role: str = "patient", id_: str | None = None) -> Caller:
    audience: Any = "patient" if role == "patient" else "staff"
    return Caller(id_ or new_id(), role, audience, session=new_id(), expires_at=2**33)


class Api:
    """Speaks HTTP to the doors of media in the name of a caller."""

    def __init__(self, ctx: Context, port: int) -> None:
        self.port = port
        self._ctx = ctx
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def bearer(self, caller: Caller | None) -> dict[str, str]:
        if caller is None:
            return {}
        token = self._ctx.tokens.issue(
            account=caller.id,
            role=caller.role,
            audience=caller.audience,
            session=caller.session,
            epoch=0,
            now=self._ctx.clock.now(),
            seconds=900,
        )
        return {"Authorization": f"Bearer {token}"}

    async def call(
        self, method: str, path: str, caller: Caller | None = None, *, headers: Any = (), **more: Any
    ) -> httpx.Response:
        path = path if path.startswith("/api") else f"/api/v1{path}"
        return await self._http.request(method, path, headers=self.bearer(caller) | dict(headers), **more)

    async def get(self, path: str, caller: Caller | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("GET", path, caller, headers=named)

    async def post(self, caller: Caller | None, data: Any, mime: str = "image/jpeg") -> httpx.Response:
        return await self.call("POST", "/media", caller, headers={"Content-Type": mime}, content=data)

    async def close(self) -> None:
        await self._http.aclose()


@pytest.fixture
def api_of(io_loop) -> Iterator[Callable[[Context], Api]]:
    """Opens the doors over a context, and closes them after the test."""
    opened: list[tuple[HTTPServer, Api]] = []

    def open_(context: Context) -> Api:
        socket, port = bind_unused_port()
        server = HTTPServer(HospitalApplication(context, [*ROUTES, *UPLOAD_ROUTES]))
        server.add_sockets([socket])
        opened.append((server, Api(context, port)))
        return opened[-1][1]

    yield open_
    for server, api in opened:
        io_loop.run_sync(api.close)
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def api(api_of, ctx) -> Api:
    return api_of(ctx)


@pytest.fixture
def patient() -> Caller:
    return caller_of("patient")


@pytest.fixture
def doctor() -> Caller:
    return caller_of("doctor")
