"""A hospital with accounts, directory and patients only: real stores, a settable clock, a stand-in for the register.

The `conftest.py` of each feature tested with it takes the fixtures over by name.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core.accounts import elevation
from core.auth import Caller, TokenSigner
from core.backoffice.handlers import ROUTES as BACKOFFICE
from core.context import Context
from core.directory.catalogue import Catalogue
from core.directory.handlers import ROUTES as DIRECTORY
from core.http import HospitalApplication
from core.ids import new_id
from core.patients.handlers import ROUTES as PATIENTS
from core.policy import Policy
from core.ports import IdentityCheck, Verdict
from storage.accounts import AccountRepository
from storage.bus import Bus
from storage.consent_texts import ConsentTextRepository
from storage.consult_types import ConsultTypeRepository
from storage.departments import DepartmentRepository
from storage.doctors import DoctorRepository
from storage.encryption import FieldCipher
from storage.hospitals import HospitalRepository
from storage.indexes import ensure_indexes
from storage.limits import RateLimiter
from storage.patients import PatientRepository
from storage.ratings import RatingRepository
from storage.revocations import Revocations
from storage.versions import VersionRepository
from tests.clock import SettableClock

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)  # noon in China
COLLECTIONS = (
    "hospitals",
    "departments",
    "doctors",
    "versions",
    "consult_types",
    "consent_texts",
    "patients",
    "ratings",
    "accounts",
)


@dataclass
class PartialContext:
    """What accounts, directory, patients and back office use of `core.context.Context`."""

    clock: Any
    policy: Any
    tokens: Any
    cipher: Any
    store: Any
    accounts: Any
    hospitals: Any
    departments: Any
    doctors: Any
    consult_types: Any
    consent_texts: Any
    patients: Any
    ratings: Any
    bus: Any
    limiter: Any
    revocations: Any
    catalogue: Any
    identity: Any


@dataclass
class Register:
    """Answers `verdict` to everybody and keeps what was asked; `fault` is raised instead when set."""

    verdict: Verdict = Verdict.MATCH
    fault: Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def verify(self, name: str, id_number: str) -> IdentityCheck:
        self.asked.append((name, id_number))
        if self.fault is not None:
            raise self.fault
        return IdentityCheck(self.verdict, "register", f"serial-{len(self.asked)}")


@pytest.fixture
def identity():
    return Register()


@pytest.fixture
def clock():
    return SettableClock(NOW)


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture(scope="module")
def limiter(io_loop, redis_url):
    made = RateLimiter(redis_url)
    yield made
    io_loop.run_sync(made.close)


def catalogue_over(store, bus, policy, doctors=None) -> Catalogue:
    return Catalogue(
        doctors=doctors or DoctorRepository(store),
        departments=DepartmentRepository(store),
        versions=VersionRepository(store),
        bus=bus,
        policy=policy,
    )


@pytest.fixture
def ctx(io_loop, indexed, redis, limiter, clock, identity) -> Context:
    async def begin() -> Bus:
        await redis.flushall()
        for name in COLLECTIONS:
            await indexed.db[name].delete_many({})
        return Bus(redis, "test")

    policy, bus = Policy(), io_loop.run_sync(begin)
    made = PartialContext(
        clock=clock,
        policy=policy,
        tokens=TokenSigner({"k1": b"t" * 32}, "k1"),
        cipher=FieldCipher({"f1": b"f" * 32}, "f1", b"i" * 32),
        store=indexed,
        accounts=AccountRepository(indexed),
        hospitals=HospitalRepository(indexed),
        departments=DepartmentRepository(indexed),
        doctors=DoctorRepository(indexed),
        consult_types=ConsultTypeRepository(indexed),
        consent_texts=ConsentTextRepository(indexed),
        patients=PatientRepository(indexed),
        ratings=RatingRepository(indexed),
        bus=bus,
        limiter=limiter,
        revocations=Revocations(redis),
        catalogue=catalogue_over(indexed, bus, policy),
        identity=identity,
    )
    io_loop.run_sync(made.catalogue.load)
    return cast("Context", made)


def caller_of(role: str = "patient", id_: str | None = None) -> Caller:
    audience: Any = "patient" if role == "patient" else "staff"
    return Caller(id_ or new_id(), role, audience, session=new_id(), expires_at=2**33)


async def lift(ctx: Context, caller: Caller) -> None:
    """As if the caller had just proven themselves again."""
    await ctx.tickets.keep(elevation._slot(ctx, caller), {"account": caller.id}, ctx.policy.elevation_seconds)


async def let_down(ctx: Context, caller: Caller) -> None:
    """As if the proof had run out."""
    await ctx.tickets.take(elevation._slot(ctx, caller))


@pytest.fixture
def caller() -> Caller:
    return caller_of()


def a_department(id_: str = "cardiology", **changes: Any) -> Any:
    return {
        "_id": id_,
        "code": "03.04",
        "name": "心血管内科",
        "introduction": "高血压、冠心病",
        "order": 1,
        "created_at": NOW,
        "updated_at": NOW,
    } | changes


def a_doctor(id_: str | None = None, **changes: Any) -> Any:
    """A doctor who may be asked for everything on the day of `NOW`."""
    return {
        "_id": id_ or new_id(),
        "name": "王小明",
        "gender": "1",
        "title": "232",
        "department_id": "cardiology",
        "skills": ["高血压"],
        "introduction": "从事临床工作多年。",
        "photo": None,
        "qualification_number": "199910000000000000000000001",
        "licence_number": "999100000000001",
        "licence_valid_to": "2030-12-31",
        "practice_start": "2010-07-01",
        "practice_scope": ["03.04"],
        "institution": "第一人民医院",
        "main_institution": True,
        "multi_site_filed": False,
        "consent_document": "consent-1",
        "services": ["consult", "followup"],
        "fees": {"consult": 3_000, "followup": 2_000},
        "online": False,
        "rating_sum": 0,
        "rating_count": 0,
        "version": 1,
        "created_at": NOW,
        "updated_at": NOW,
    } | changes


async def register_doctors(ctx, *doctors: Any) -> None:
    """Doctors of the department of cardiology, known to the catalogue."""
    await ctx.departments.add(a_department())
    for doctor in doctors:
        assert await ctx.doctors.add(doctor)
    await ctx.catalogue.changed()


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any


class Api:
    """Speaks to the REST doors, as `caller` where one is given."""

    def __init__(self, base: str, ctx: Context) -> None:
        self._base = base
        self._ctx = ctx
        self._client = AsyncHTTPClient(force_instance=True)

    async def call(self, method: str, path: str, body: Any = None, *, caller: Caller | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        if caller is not None:
            token = self._ctx.tokens.issue(
                account=caller.id,
                role=caller.role,
                audience=caller.audience,
                session=caller.session,
                epoch=0,
                now=self._ctx.clock.now(),
                seconds=900,
            )
            headers["Authorization"] = f"Bearer {token}"
        answer = await self._client.fetch(
            f"{self._base}/api/v1{path}",
            method=method,
            body=None if body is None else json.dumps(body),
            headers=headers,
            raise_error=False,
            allow_nonstandard_methods=True,
        )
        return Answer(answer.code, json.loads(answer.body) if answer.body else None, answer.headers)

    async def get(self, path: str, *, caller: Caller | None = None) -> Answer:
        return await self.call("GET", path, caller=caller)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def api(io_loop, ctx):
    socket, port = bind_unused_port()
    server = HTTPServer(HospitalApplication(ctx, [*DIRECTORY, *PATIENTS, *BACKOFFICE]))
    server.add_sockets([socket])
    opened = Api(f"http://127.0.0.1:{port}", ctx)
    yield opened
    opened.close()
    server.stop()
    io_loop.run_sync(server.close_all_connections)
