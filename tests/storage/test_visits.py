import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.indexes import ensure_indexes
from storage.moves import duty
from storage.visits import VisitRepository
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def a_visit(id_: str, **changes: Any) -> Any:
    return {
        "_id": id_,
        "kind": "consult",
        "status": "waiting",
        "version": 1,
        "request_id": f"r-{id_}",
        "patient_account": "p1",
        "patient": {"id": "patient1", "name": "sealed", "gender": "1", "birth_date": "1990-01-01", "relation": "self"},
        "doctor_id": "d1",
        "department_id": "cardiology",
        "submitted_at": NOW,
        "rating": None,
        "deadline_at": NOW,
        "updated_at": NOW,
        "history": [],
        "duties": [],
    } | changes


def entry(at=NOW):
    return {"at": at, "actor": "p1", "role": "patient", "act": "rate", "frm": "x", "to": "x", "reason": None}


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def visits(io_loop, indexed):
    io_loop.run_sync(lambda: indexed.db["visits"].delete_many({}))
    return VisitRepository(indexed)


async def fill(visits, *documents: Any) -> None:
    for document in documents:
        assert await visits.add(document)


def ids(found) -> list[str]:
    return [visit["_id"] for visit in found]


@pytest.mark.gen_test
async def test_one_submission_of_an_account_is_stored_once(visits):
    stored = await asyncio.gather(*(visits.add(a_visit(f"v{n}", request_id="r1")) for n in range(10)))
    assert stored.count(True) == 1
    first = await visits.by_request("p1", "r1")
    assert first["_id"] == f"v{stored.index(True)}"
    assert len(await visits.page("patient_account", "p1", before=None, limit=20)) == 1


@pytest.mark.gen_test
async def test_request_ids_belong_to_accounts(visits):
    await fill(visits, a_visit("v1", request_id="r1"))
    assert await visits.add(a_visit("v2", request_id="r1", patient_account="p2"))
    assert (await visits.by_request("p2", "r1"))["_id"] == "v2"
    assert await visits.by_request("p3", "r1") is None


@pytest.mark.gen_test
async def test_pages_run_newest_first_without_gap_or_repeat(visits):
    await fill(visits, *(a_visit(f"v{n}") for n in (3, 1, 5, 2, 4)), a_visit("v9", patient_account="p2"))
    first = await visits.page("patient_account", "p1", before=None, limit=2)
    second = await visits.page("patient_account", "p1", before="v4", limit=2)
    last = await visits.page("patient_account", "p1", before="v2", limit=2)
    assert (ids(first), ids(second), ids(last)) == (["v5", "v4"], ["v3", "v2"], ["v1"])
    assert await visits.page("patient_account", "p1", before="v1", limit=2) == []


@pytest.mark.gen_test
async def test_each_sees_their_own_side(visits):
    await fill(visits, a_visit("v1"), a_visit("v2", doctor_id="d2", patient_account="p2", department_id="surgery"))
    assert ids(await visits.page("doctor_id", "d2", before=None, limit=5)) == ["v2"]
    assert ids(await visits.page("department_id", "cardiology", before=None, limit=5)) == ["v1"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"statuses": ["completed"]}, ["v4", "v2"]),
        ({"statuses": ["completed", "pending_payment"]}, ["v4", "v3", "v2"]),
        ({"kind": "followup"}, ["v2"]),
        ({"patient_id": "patient2"}, ["v4"]),
        ({"submitted": True}, ["v4", "v2", "v1"]),
        ({"submitted": True, "statuses": ["pending_payment"]}, []),
        ({"kind": "consult", "statuses": ["completed"], "patient_id": "patient2"}, ["v4"]),
    ],
)
async def test_lists_are_narrowed(visits, filters, expected):
    await fill(
        visits,
        a_visit("v1"),
        a_visit("v2", status="completed", kind="followup"),
        a_visit("v3", status="pending_payment", submitted_at=None),
        a_visit("v4", status="completed", patient={"id": "patient2"}),
    )
    assert ids(await visits.page("doctor_id", "d1", before=None, limit=5, **filters)) == expected


@pytest.mark.gen_test
async def test_filters_come_before_the_limit(visits):
    await fill(visits, a_visit("v1", status="completed"), *(a_visit(f"v{n}") for n in range(2, 9)))
    assert ids(await visits.page("doctor_id", "d1", before=None, limit=2, statuses=["completed"])) == ["v1"]


@pytest.mark.gen_test
async def test_only_paid_and_unfinished_visits_are_open(visits):
    states = ["pending_payment", "waiting", "in_progress", "completed", "terminated", "cancelled", "expired"]
    await fill(visits, *(a_visit(f"v{n}", status=status) for n, status in enumerate(states)))
    assert ids(await visits.open_of("p1", "patient")) == ["v2", "v1"]
    assert ids(await visits.open_of("d1", "doctor")) == ["v2", "v1"]
    assert await visits.open_of("p1", "doctor") == []


@pytest.mark.gen_test
async def test_a_doctor_counts_what_was_submitted(visits):
    await fill(
        visits,
        a_visit("v1"),
        a_visit("v2"),
        a_visit("v3", status="completed"),
        a_visit("v4", status="expired", submitted_at=None),
        a_visit("v5", doctor_id="d2"),
    )
    assert await visits.counts_of_doctor("d1") == {"waiting": 2, "completed": 1}
    assert await visits.counts_of_doctor("d9") == {}


@pytest.mark.gen_test
async def test_a_visit_is_rated_once(visits):
    await fill(visits, a_visit("v1", status="completed"))
    owed = duty("rating.count", "v1", 1, NOW)
    later = NOW + timedelta(hours=1)
    rated = await asyncio.gather(*(visits.rate("v1", {"stars": n}, entry=entry(later), duty=owed) for n in range(1, 6)))
    assert rated.count(True) == 1
    visit = await visits.get("v1")
    assert visit["rating"] == {"stars": rated.index(True) + 1}
    assert (visit["version"], visit["updated_at"], visit["duties"]) == (2, later, [owed])
    assert (visit["history"], visit["status"]) == ([entry(later)], "completed")
    assert not await visits.rate("none", {"stars": 1}, entry=entry(), duty=owed)


@pytest.mark.gen_test
async def test_a_deadline_is_put_off_only_as_it_was_seen(visits):
    later = NOW + timedelta(hours=48)
    await fill(visits, a_visit("v1"))
    assert not await visits.postpone_deadline("v1", later, later)
    assert await visits.postpone_deadline("v1", NOW, later)
    assert not await visits.postpone_deadline("v1", NOW, later)
    assert (await visits.get("v1"))["deadline_at"] == later


@pytest.mark.gen_test(timeout=20)
async def test_nothing_is_scanned(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        visits = VisitRepository(store)
        await visits.add(a_visit("v1"))
        await visits.by_request("p1", "r1")
        for by in ("patient_account", "doctor_id", "department_id"):
            for before in (None, "v9"):
                await visits.page(by, "x", before=before, limit=5, statuses=["waiting"], submitted=True)
        await visits.open_of("p1", "patient")
        await visits.open_of("d1", "doctor")
        await visits.counts_of_doctor("d1")
        await visits.rate("v1", {}, entry=entry(), duty=duty("a", "v1", 1, NOW))
        await visits.postpone_deadline("v1", NOW, NOW)
        await visits.due(NOW, 5)
        await visits.overdue(NOW, 5)
        assert await plans.scans() == []


def of(patient: str) -> dict[str, Any]:
    return {"patient": {"id": patient, "name": f"sealed-{patient}", "gender": "1", "birth_date": "1990-01-01"}}


async def patients(visits, *, doctor: str = "d1", until: datetime = NOW, before: str | None = None, **asked: Any):
    found = await visits.patients_of_doctor(doctor, until=until, before=before, limit=asked.pop("limit", 9), **asked)
    return [(one["_id"], one["last"], one["visits"]) for one in found]


@pytest.mark.gen_test
async def test_patients_of_a_doctor_are_given_once_by_their_newest_visit(visits):
    await fill(
        visits,
        a_visit("v1", **of("a")),
        a_visit("v2", **of("b")),
        a_visit("v3", **of("a")),
        a_visit("v4", **of("c"), submitted_at=None),
        a_visit("v5", **of("b"), doctor_id="d2"),
    )
    assert await patients(visits) == [("a", "v3", 2), ("b", "v2", 1)]
    assert await patients(visits, doctor="d2") == [("b", "v5", 1)]
    assert await patients(visits, limit=1) == [("a", "v3", 2)]
    assert await patients(visits, before="v3") == [("b", "v2", 1)]
    assert await patients(visits, among=["b", "c", "x"]) == [("b", "v2", 1)]
    assert await patients(visits, among=[]) == []


@pytest.mark.gen_test
async def test_what_is_submitted_later_changes_neither_order_nor_numbers(visits):
    later = NOW + timedelta(milliseconds=1)
    await fill(
        visits,
        a_visit("v1", **of("a")),
        a_visit("v2", **of("b"), submitted_at=later),
        a_visit("v3", **of("a"), submitted_at=later),
    )
    assert await patients(visits, until=NOW) == [("a", "v1", 1)]
    assert await patients(visits, until=later) == [("a", "v3", 2), ("b", "v2", 1)]


@pytest.mark.gen_test
async def test_the_newest_visit_tells_who_the_patient_was(visits):
    renamed = {"patient": of("a")["patient"] | {"name": "sealed-anew"}}
    await fill(visits, a_visit("v1", **of("a")), a_visit("v2", **renamed, submitted_at=NOW))
    found = await visits.patients_of_doctor("d1", until=NOW, before=None, limit=1)
    assert found == [{"_id": "a", "last": "v2", "patient": renamed["patient"], "at": NOW, "visits": 2}]


@pytest.mark.gen_test
async def test_open_visits_are_counted_without_the_ended(visits):
    await fill(
        visits,
        *(a_visit(f"w{n}", status="waiting") for n in range(3)),
        *(a_visit(f"p{n}", status="in_progress") for n in range(2)),
        a_visit("e", status="completed"),
        a_visit("o", status="waiting", doctor_id="d2"),
    )
    assert await visits.open_counts("d1") == {"waiting": 3, "in_progress": 2}
    assert await visits.open_counts("nobody") == {"waiting": 0, "in_progress": 0}


@pytest.mark.gen_test
async def test_several_visits_are_read_at_once(visits):
    await fill(visits, a_visit("v1"), a_visit("v2"), a_visit("v3"))
    assert set(await visits.many(["v1", "v3", "v1", "gone"])) == {"v1", "v3"}
    assert (await visits.many(["v2"]))["v2"]["request_id"] == "r-v2"
    assert await visits.many([]) == {}


@pytest.mark.gen_test
async def test_what_the_desk_asks_is_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        visits = VisitRepository(store)
        await visits.patients_of_doctor("d1", until=NOW, before="v1", limit=2, among=["a"])
        await visits.open_counts("d1")
        await visits.many(["v1", "v2"])
        await visits.in_progress(after="v1", limit=2)
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_visits_in_progress_come_oldest_first_in_stretches(visits):
    await fill(visits, *(a_visit(f"v{n}", status="in_progress") for n in (3, 1, 2)), a_visit("v4"))
    assert [one["_id"] for one in await visits.in_progress(after="", limit=2)] == ["v1", "v2"]
    assert [one["_id"] for one in await visits.in_progress(after="v2", limit=2)] == ["v3"]
