"""Any handlers over real HTTP, with no more of the hospital behind them than every door needs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core.audit import AuditTrail
from core.auth import TokenSigner
from core.context import Context
from core.http import DRAINED_BODY, HospitalApplication
from core.policy import Policy
from storage.audit import AuditEntryRepository
from storage.encryption import FieldCipher
from storage.idempotency import IdempotencyRepository
from storage.limits import RateLimiter
from storage.revocations import Revocations
from tests.clock import SettableClock

SECONDS = 10


@dataclass
class PartialContext:
    """What doors themselves use of `core.context.Context`."""

    store: Any
    idempotency: Any
    revocations: Any
    limiter: Any
    audit: Any
    bus: Any = None
    clock: Any = field(default_factory=SettableClock)
    policy: Any = field(default_factory=Policy)
    tokens: Any = field(default_factory=lambda: TokenSigner({"k1": b"t" * 32}, "k1"))
    cipher: Any = field(default_factory=lambda: FieldCipher({"f1": b"f" * 32}, "f1", b"i" * 32))


class Doors:
    """Where the handlers answer."""

    def __init__(self, ctx: Any, port: int, http: httpx.AsyncClient) -> None:
        self.ctx = ctx
        self.port = port
        self._http = http

    def token(self, role: str = "patient", *, account: str = "a1", **claims: Any) -> str:
        """An access token good for a quarter of an hour."""
        given = {"audience": "patient" if role == "patient" else "staff", "session": "s1", "epoch": 0, "seconds": 900}
        return self.ctx.tokens.issue(account=account, role=role, now=self.ctx.clock.now(), **(given | claims))

    async def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        """Any call; `token` stands in the Authorization header."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        return await self._http.request(method, path, headers=headers, **options)

    async def raw(self, *sent: bytes) -> bytes:
        """What comes back on a connection that is closed by its server, or by us half a request later."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in sent:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), SECONDS)
        finally:
            writer.close()


def partial_context(store, redis, limiter) -> Context:
    """Real stores and a clock that is stepped."""
    made = PartialContext(
        store, IdempotencyRepository(store), Revocations(redis), limiter, AuditTrail(AuditEntryRepository(store))
    )
    return cast("Context", made)


@contextmanager
def open_doors(io_loop, ctx, routes: list[Any]) -> Iterator[Doors]:
    """Served as `app.serving` does it, on a free port."""
    socket, port = bind_unused_port()
    server = HTTPServer(HospitalApplication(ctx, routes), max_body_size=DRAINED_BODY)
    server.add_sockets([socket])
    http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS, verify=False)
    try:
        yield Doors(ctx, port, http)
    finally:
        io_loop.run_sync(http.aclose)
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@contextmanager
def a_limiter(io_loop, redis_url) -> Iterator[RateLimiter]:
    """Closed at the end of the block."""
    made = RateLimiter(redis_url)
    try:
        yield made
    finally:
        io_loop.run_sync(made.close)
