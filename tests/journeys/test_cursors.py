"""Pages of every list while rows arrive: whoever reads on sees each row that was there once, and none is passed over.

Rows arrive at the top, and, as from a process whose clock is behind or a visit that was paid late, in the middle.
"""

import random
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.wiring import REST_ROUTES
from core.accounts import service as accounts
from core.http import methods_of, sign_of
from core.ids import new_id
from core.ratings import service as ratings
from scripts.acting import Person
from tests.core.consulting import Case, House, open_house
from tests.core.partial import a_doctor, caller_of
from tests.storage.test_audit import an_entry

QUICKLY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=5,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ROWS = 5
Item = dict[str, Any]


@dataclass
class Lists:
    """A house with one row of each kind, of which more are made by copying it in the store."""

    house: House
    case: Case
    people: dict[str, Person]
    samples: dict[str, Item]
    chance: random.Random

    async def empty(self) -> None:
        """Nothing but the samples."""
        for name, sample in self.samples.items():
            if name != "accounts":
                await self.house.ctx.store.db[name].delete_many({"_id": {"$ne": sample["_id"]}})

    async def copy(self, collection: str, **changes: Any) -> str:
        """One more row like the sample, at the top or somewhere below."""
        id_ = new_id()
        if self.chance.random() < 0.3:
            id_ = self.samples[collection]["_id"][:10] + id_[10:]
        given = {name: change(id_) if callable(change) else change for name, change in changes.items()}
        await self.house.ctx.store.db[collection].insert_one({**self.samples[collection], "_id": id_, **given})
        return id_

    async def visit(self) -> None:
        await self.copy("visits", request_id=lambda id_: id_, submitted_at=self.house.ctx.clock.now())

    async def patient(self) -> None:
        """A visit of somebody who has not been with this doctor before."""
        patient = {**self.samples["visits"]["patient"], "id": new_id()}
        now = self.house.ctx.clock.now()
        await self.copy("visits", request_id=lambda id_: id_, patient=patient, submitted_at=now)

    async def order(self) -> None:
        await self.copy("orders")

    async def rating(self) -> None:
        visit = await self.copy("visits", request_id=lambda id_: id_)
        await self.copy("ratings", visit_id=visit, text=lambda id_: id_)

    async def doctor(self) -> None:
        title = self.chance.choice(("231", "232", "233"))
        await self.house.ctx.doctors.add(a_doctor(new_id(), title=title, online=self.chance.random() < 0.5))
        await self.house.ctx.catalogue.changed()

    async def member(self) -> None:
        await self.copy("accounts", phone_index=lambda id_: id_, login=lambda id_: id_)

    async def call(self) -> None:
        await self.copy("calls", request_id=lambda id_: id_)

    async def entry(self) -> None:
        await self.copy("audit_entries")

    async def setting(self) -> None:
        last = await self.house.ctx.settings_changes.last()
        made: Any = {"_id": last["_id"] + 1 if last else 1, "steps": [], "values": {}, "actor": "office"}
        assert await self.house.ctx.settings_changes.add(made | {"role": "admin", "at": self.house.ctx.clock.now()})

    async def reconciled_day(self) -> None:
        """The next day, as days come."""
        docs = self.house.ctx.store.db["reconciliations"]
        number = await docs.count_documents({})
        day = str(date(2020, 1, 1) + timedelta(days=number))
        totals = {"payments": 0, "paid": 0, "refunds": 0, "refunded": 0}
        made = {"_id": day, "day": day, "version": 1, "at": self.house.ctx.clock.now(), "by": "system", "runs": []}
        made |= {"ours": totals, "theirs": totals, "differences": [], "difference_count": 0, "lease": None}
        await docs.insert_one(made)


def by_id(item: Item) -> str:
    return str(item["id"])


@dataclass(frozen=True)
class Listing:
    """A list: who reads it, how a row arrives in it, and what tells its rows apart."""

    path: str
    who: str
    grow: Callable[[Lists], Awaitable[None]]
    key: Callable[[Item], str] = by_id
    query: str = ""
    inside: str = ""


LISTINGS = [
    Listing("/visits", "patient", Lists.visit),
    Listing("/visits", "doctor", Lists.visit),
    Listing("/visits", "nurse", Lists.visit),
    Listing("/visits", "doctor", Lists.visit, query="&q=头痛"),
    Listing("/visits", "patient", Lists.visit, query="&status=completed,terminated"),
    Listing("/visits/{visit}/calls", "patient", Lists.call),
    Listing("/visits/{visit}/calls", "doctor", Lists.call),
    Listing("/orders", "patient", Lists.order),
    Listing("/me/ratings", "patient", Lists.rating),
    Listing("/doctors", "patient", Lists.doctor),
    Listing("/doctors", "patient", Lists.doctor, query="&q=高血压"),
    Listing("/doctors/{doctor}/ratings", "patient", Lists.rating, key=lambda item: str(item["text"])),
    Listing("/desk/patients", "doctor", Lists.patient),
    Listing("/desk/patients", "doctor", Lists.patient, query="&q=演示"),
    Listing("/desk/patients/{patient}", "doctor", Lists.visit, inside="history"),
    Listing("/desk/orders", "doctor", Lists.order),
    Listing("/desk/ratings", "doctor", Lists.rating, key=lambda item: str(item["text"])),
    Listing("/audit", "auditor", Lists.entry, query="&subject=visit:listed"),
    Listing("/admin/staff", "admin", Lists.member),
    Listing("/admin/staff", "admin", Lists.member, query="&role=pharmacist"),
    Listing("/admin/settings/history", "admin", Lists.setting),
    Listing("/admin/reconciliation", "admin", Lists.reconciled_day, key=lambda item: str(item["day"])),
    Listing("/admin/orders", "admin", Lists.order, query="&refund=open"),
]


@pytest.fixture(scope="module")
def lists(io_loop, mongo_uri, redis_url, database, tmp_path_factory) -> Iterator[Lists]:
    opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("lists"), database)
    house = io_loop.run_sync(opened.__aenter__, timeout=60)
    yield io_loop.run_sync(lambda: furnished(house), timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


async def furnished(house: House) -> Lists:
    """A rated visit whose money is on its way back, and a pharmacist."""
    case = await house.completed()
    await ratings.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=5, text="0")
    await house.faults(hold_refunds=True)
    await case.act(case.doctor, "refund", reason="误操作")
    await house.rest()
    pharmacist = await accounts.draft_staff(
        house.ctx, account="yaoshi", phone="19900090000", name="演示", role="pharmacist", password="correct-horse-7"
    )
    await house.ctx.accounts.add(pharmacist)
    callers = {
        "patient": case.patient,
        "doctor": case.doctor,
        "nurse": await house.nurse(),
        "admin": caller_of("admin"),
        "auditor": caller_of("auditor"),
    }
    # Made by a shortcut, the nurse has no name to be listed under.
    await house.ctx.store.db["accounts"].update_one({"_id": callers["nurse"].id}, {"$set": {"audience": "nobody"}})
    samples = {"visits": await case.visit(), "orders": await case.order(), "accounts": pharmacist}
    samples["ratings"] = await house.ctx.ratings.of_visit(case.id)
    assert samples["orders"]["status"] == "refunding"
    samples["calls"] = call_of(await case.visit())
    await house.ctx.calls.add(samples["calls"])
    for sample in samples.values():
        sample["duties"] = []
    samples["audit_entries"] = an_entry(_id=new_id(), subject="visit:listed", at=house.ctx.clock.now())
    await house.ctx.audit_entries.add([samples["audit_entries"]])
    people = {name: house.person(caller) for name, caller in callers.items()}
    return Lists(house, case, people, samples, random.Random(7))


def call_of(visit: Item) -> Item:
    """A call of the visit that nobody answered."""
    now = visit["created_at"]
    return {
        "_id": new_id(),
        "visit_id": visit["_id"],
        "doctor_id": visit["doctor_id"],
        "patient_account": visit["patient_account"],
        "request_id": "one",
        "media": "audio",
        "status": "ended",
        "version": 2,
        "reason": "missed",
        "legs": {side: {"state": "none", "generation": 0} for side in ("doctor", "patient")},
        "recording_since": None,
        "deadline_at": None,
        "started_at": None,
        "ended_at": now,
        "history": [],
        "duties": [],
    }


async def pages(lists: Lists, listing: Listing, limit: int, between: Callable[[], Awaitable[None]]) -> list[str]:
    """What somebody sees who reads to the end, while `between` runs after each page."""
    visit = await lists.case.visit()
    path = listing.path.replace("{doctor}", lists.case.doctor.id).replace("{patient}", visit["patient"]["id"])
    path = path.replace("{visit}", lists.case.id)
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await lists.people[listing.who].call("GET", f"{path}?limit={limit}{listing.query}{cursor}")
        page = answer[listing.inside] if listing.inside else answer
        assert len(page["items"]) <= limit
        seen += [listing.key(item) for item in page["items"]]
        if page["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page['next_cursor']}"
        await between()


async def nothing() -> None:
    """Nobody comes in."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("listing", LISTINGS, ids=lambda one: f"{one.who} {one.path}{one.query}")
def test_no_row_is_shown_twice_and_none_is_passed_over_while_rows_arrive(io_loop, lists, listing):
    async def fill() -> None:
        await lists.empty()
        for _ in range(ROWS):
            await listing.grow(lists)

    @QUICKLY
    @given(limit=st.integers(1, 3), arrivals=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def read_on(limit: int, arrivals: list[int]) -> None:
        io_loop.run_sync(lambda: read(limit, iter(arrivals)), timeout=30)

    async def read(limit: int, arrivals: Iterator[int]) -> None:
        async def some_arrive() -> None:
            for _ in range(next(arrivals, 0)):
                await listing.grow(lists)

        before = await pages(lists, listing, 100, nothing)
        seen = await pages(lists, listing, limit, some_arrive)
        assert len(set(seen)) == len(seen)
        assert [row for row in seen if row in set(before)] == before

    io_loop.run_sync(fill, timeout=30)
    read_on()


def test_every_list_that_has_a_cursor_is_read_here():
    paths = {
        re.sub(r"\([^)]*\)", "{}", pattern.removeprefix("/api/v1"))
        for pattern, handler, *_ in REST_ROUTES
        for method in methods_of(handler)
        if (sign := sign_of(handler, method.lower())) is not None
        and sign.query is not None
        and "cursor" in sign.query.fields
    }
    assert paths == {re.sub(r"{\w+}", "{}", listing.path) for listing in LISTINGS}
