"""A hospital with accounts only: real stores, a clock that is stepped, and the carrier and WeChat as stand-ins.

Tests reach the outside through `sms` and `wechat` alone.
"""

import itertools
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core.accounts import service
from core.accounts.handlers import ROUTES
from core.audit import AuditTrail
from core.auth import TokenSigner
from core.context import Context, Secrets
from core.http import HospitalApplication
from core.policy import Policy
from core.ports import Rejected, WeChatUser
from storage.accounts import AccountRepository
from storage.audit import AuditEntryRepository
from storage.bus import Bus
from storage.encryption import FieldCipher
from storage.indexes import ensure_indexes
from storage.limits import RateLimiter
from storage.login_codes import LoginCodes
from storage.revocations import Revocations
from storage.sessions import SessionRepository
from storage.tickets import Tickets
from tests.clock import SettableClock

PASSWORD = "correct-horse-7"
_phones = itertools.count(13_900_000_000)


@dataclass
class PartialContext:
    """What accounts use of `core.context.Context`."""

    clock: Any
    policy: Any
    secrets: Any
    tokens: Any
    cipher: Any
    accounts: Any
    sessions: Any
    bus: Any
    limiter: Any
    revocations: Any
    login_codes: Any
    tickets: Any
    wechat_patients: Any
    wechat_staff: Any
    sms: Any
    audit: Any
    live_calls: Any
    second_factor_required: bool = False


@dataclass
class Carrier:
    """Keeps what was sent; `fault` is raised instead when set."""

    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    fault: Exception | None = None

    async def send(self, phone, template, parameters, *, reference):
        if self.fault is not None:
            raise self.fault
        self.sent.append((phone, dict(parameters)))

    def last_code(self, phone: str) -> str:
        return [said["code"] for to, said in self.sent if to == phone][-1]


@dataclass
class MiniProgram:
    """Redeems the codes it handed out, each once; `fault` is raised instead when set."""

    users: dict[str, str] = field(default_factory=dict)
    phones: dict[str, str] = field(default_factory=dict)
    fault: Exception | None = None

    def press(self, openid: str, phone: str) -> dict[str, str]:
        """What the page sends after `wx.login` and the phone-number button."""
        login_code, phone_code = secrets.token_hex(16), secrets.token_hex(32)
        self.users[login_code], self.phones[phone_code] = openid, phone
        return {"login_code": login_code, "phone_code": phone_code}

    async def user(self, login_code):
        if self.fault is not None:
            raise self.fault
        if login_code not in self.users:
            raise Rejected("40029")
        return WeChatUser(self.users.pop(login_code), None)

    async def phone(self, phone_code):
        if phone_code not in self.phones:
            raise Rejected("40029")
        return self.phones.pop(phone_code)


@dataclass
class LiveCalls:
    """Knows the members of calls that are live."""

    members: dict[str, set[str]] = field(default_factory=dict)

    async def admits(self, call_id: str, account: str) -> bool:
        return account in self.members.get(call_id, set())


@pytest.fixture
def live_calls():
    return LiveCalls()


@pytest.fixture
def sms():
    return Carrier()


@pytest.fixture
def wechat():
    """The patients' mini-program."""
    return MiniProgram()


@pytest.fixture
def wechat_staff():
    """The medical staff's mini-program."""
    return MiniProgram()


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture(scope="module")
def limiter(io_loop, redis_url):
    made = RateLimiter(redis_url)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def ctx(io_loop, indexed, redis, limiter, clock, sms, wechat, wechat_staff, live_calls) -> Context:
    io_loop.run_sync(redis.flushall)
    made = PartialContext(
        clock=clock,
        policy=Policy(),
        secrets=Secrets(codes=b"c" * 32, links=b"l" * 32),
        tokens=TokenSigner({"k1": b"t" * 32}, "k1"),
        cipher=FieldCipher({"f1": b"f" * 32}, "f1", b"i" * 32),
        accounts=AccountRepository(indexed),
        sessions=SessionRepository(indexed),
        bus=io_loop.run_sync(_bus_of(redis)),
        limiter=limiter,
        revocations=Revocations(redis),
        login_codes=LoginCodes(redis),
        tickets=Tickets(redis),
        wechat_patients=wechat,
        wechat_staff=wechat_staff,
        sms=sms,
        audit=AuditTrail(AuditEntryRepository(indexed)),
        live_calls=live_calls,
    )
    return cast("Context", made)


def _bus_of(redis):
    async def made() -> Bus:  # needs the loop
        return Bus(redis, "test")

    return made


@pytest.fixture
def trail(io_loop, indexed) -> Callable[[str], Awaitable[list[tuple[str, str | None]]]]:
    """The acts and reasons that the audit trail has of an actor since the test began, in no order of their own."""
    io_loop.run_sync(lambda: indexed.db["audit_entries"].delete_many({}))

    async def told(actor: str) -> list[tuple[str, str | None]]:
        found = await indexed.db["audit_entries"].find({"actor": actor}).to_list(None)
        return sorted((one["act"], one["reason"] or "") for one in found)

    return told


@pytest.fixture
def phone() -> str:
    return str(next(_phones))


@pytest.fixture
def revoked(ctx) -> list[str]:
    """Sessions whose end was told to the sockets."""
    told: list[str] = []
    ctx.bus.on("session.revoked", lambda payload: told.append(payload["session"]))
    return told


@pytest.fixture
def doctor(io_loop, ctx, phone):
    """A doctor's account; its password is `PASSWORD`."""
    name = f"doctor{phone[-6:]}"
    return io_loop.run_sync(
        lambda: service.create_staff(ctx, account=name, phone=phone, name="林静", role="doctor", password=PASSWORD)
    )


@pytest.fixture
def patient(io_loop, ctx):
    """A patient's account."""
    return io_loop.run_sync(lambda: service.create_patient_account(ctx, phone=str(next(_phones)), name="王小明"))


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any


class Api:
    """Speaks to the REST doors of accounts."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._client = AsyncHTTPClient(force_instance=True)

    async def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Answer:
        answer = await self._client.fetch(
            f"{self._base}/api/v1{path}",
            method=method,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            raise_error=False,
            allow_nonstandard_methods=True,
        )
        return Answer(answer.code, json.loads(answer.body) if answer.body else None, answer.headers)

    async def post(self, path: str, body: Any, *, token: str | None = None) -> Answer:
        return await self.call("POST", path, body, token=token)

    async def get(self, path: str, *, token: str | None = None) -> Answer:
        return await self.call("GET", path, token=token)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def api_of(io_loop):
    """Opens the doors over a context, and closes them after the test."""
    opened: list[tuple[HTTPServer, Api]] = []

    def open_(context) -> Api:
        socket, port = bind_unused_port()
        server = HTTPServer(HospitalApplication(context, ROUTES))
        server.add_sockets([socket])
        api = Api(f"http://127.0.0.1:{port}")
        opened.append((server, api))
        return api

    yield open_
    for server, api in opened:
        api.close()
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def api(api_of, ctx) -> Api:
    return api_of(ctx)


def six_other_digits(code: str) -> str:
    """A well-formed code that is not this one."""
    assert re.fullmatch("[0-9]{6}", code)
    return f"{(int(code) + 1) % 1_000_000:06d}"
