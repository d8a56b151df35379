import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.calls import LIVE_FIELDS, CallRepository
from storage.indexes import ensure_indexes
from storage.moves import duty
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def a_call(id_: str, **changes: Any) -> Any:
    return {
        "_id": id_,
        "visit_id": f"visit-{id_}",
        "doctor_id": f"doctor-{id_}",
        "patient_account": f"patient-{id_}",
        "status": "ringing",
        "version": 1,
        "request_id": f"device/{id_}",
        "owner": None,
        "quality": {},
        "recordings": {},
        "recording_faults": [],
        "recording_reads": [],
        "film": None,
        "recorder_faults": [],
        "deadline_at": NOW,
        "updated_at": NOW,
        "history": [],
        "duties": [],
        "live_visit": f"visit-{id_}",
        "live_doctor": f"doctor-{id_}",
        "live_patient": f"patient-{id_}",
    } | changes


def entry():
    return {"at": NOW, "actor": "x", "role": "system", "act": "miss", "frm": "ringing", "to": "ended", "reason": None}


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def calls(io_loop, indexed):
    io_loop.run_sync(lambda: indexed.db["calls"].delete_many({}))
    return CallRepository(indexed)


async def end(calls, id_):
    return await calls.move(id_, "ringing", "ended", entry=entry(), unset=LIVE_FIELDS)


@pytest.mark.parametrize("field", LIVE_FIELDS)
@pytest.mark.gen_test
async def test_a_visit_and_a_person_have_one_live_call_at_most_until_it_ends(calls, field):
    assert await calls.add(a_call("c1", **{field: "one"}))
    assert not await calls.add(a_call("c2", **{field: "one"}))
    assert (await calls.live(field, "one"))["_id"] == "c1"
    await end(calls, "c1")
    assert await calls.live(field, "one") is None
    assert await calls.add(a_call("c2", **{field: "one"}))


@pytest.mark.gen_test
async def test_of_many_at_once_one_is_stored(calls):
    stored = await asyncio.gather(*(calls.add(a_call(f"c{n}", live_patient="one")) for n in range(10)))
    assert stored.count(True) == 1


@pytest.mark.gen_test
async def test_any_number_of_ended_calls_go_beside_each_other(calls):
    for n in range(3):
        assert await calls.add(a_call(f"c{n}", visit_id="v1", live_visit="v1", live_doctor="d1", live_patient="p1"))
        await end(calls, f"c{n}")
    assert [call["_id"] for call in await calls.page("v1", before=None, limit=2)] == ["c2", "c1"]
    assert [call["_id"] for call in await calls.page("v1", before="c1", limit=2)] == ["c0"]


@pytest.mark.gen_test
async def test_a_doctors_request_is_one_call(calls):
    assert await calls.add(a_call("c1", doctor_id="d1", request_id="r1"))
    assert not await calls.add(a_call("c2", doctor_id="d1", request_id="r1"))
    assert await calls.add(a_call("c3", doctor_id="d2", request_id="r1"))
    assert (await calls.by_request("d1", "r1"))["_id"] == "c1"
    assert await calls.by_request("d3", "r1") is None


@pytest.mark.gen_test
async def test_owned_calls_are_found_and_several_by_their_ids(calls):
    for id_, owner in (("c1", "p1"), ("c2", None), ("c3", "p2")):
        await calls.add(a_call(id_, owner=owner))
    assert sorted(call["_id"] for call in await calls.owned(10)) == ["c1", "c3"]
    assert len(await calls.owned(1)) == 1
    assert sorted(await calls.many(["c1", "c2", "x"])) == ["c1", "c2"]
    assert await calls.many([]) == {}


@pytest.mark.gen_test
async def test_what_nobody_is_told_of_leaves_the_version(calls):
    await calls.add(a_call("c1"))
    await calls.keep_quality("c1", {"doctor": {"loss": 1}})
    await calls.keep_quality("c1", {"patient": {"loss": 2}})
    await calls.expect_recording("c1", "room", process="p1", at=NOW)
    await calls.name_unreadable("c1", "room", "doctor-1-1.webm")
    await calls.expect_recording("c1", "room", process="p2", at=NOW)
    assert await calls.keep_recording("c1", "room", {"segments": [1], "began_at": NOW}, at=NOW)
    assert not await calls.keep_recording("none", "room", {"segments": []}, at=NOW)
    await calls.set_recording_faults("c1", ["file_missing"])
    read = {"at": NOW, "actor": "d", "role": "doctor", "variant": "film", "reason": "复核"}
    await calls.add_recording_read("c1", read)
    await calls.add_recorder_fault("c1", {"at": NOW, "side": "doctor", "generation": 1, "reason": "disk_full"})
    found = await calls.get("c1")
    assert (found["version"], found["updated_at"]) == (1, NOW)
    assert found["quality"] == {"doctor": {"loss": 1}, "patient": {"loss": 2}}
    assert found["recordings"] == {
        "room": {
            "process": "p1",
            "opened_at": NOW,
            "collected_at": NOW,
            "began_at": NOW,
            "segments": [1],
            "timeline": [],
            "unreadable": ["doctor-1-1.webm"],
        }
    }
    assert (found["recording_faults"], found["recording_reads"]) == (["file_missing"], [read])
    assert [fault["reason"] for fault in found["recorder_faults"]] == ["disk_full"]


@pytest.mark.gen_test
async def test_no_query_scans(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        calls = CallRepository(store)
        await calls.add(a_call("c9", owner="p9", duties=[duty("call.ring", "c9", 0, NOW)]))
        plans.forget()
        await calls.by_request("d1", "r1")
        for field in LIVE_FIELDS:
            await calls.live(field, "x")
        await calls.page("v1", before=None, limit=20)
        await calls.page("v1", before="c9", limit=20)
        await calls.owned(10)
        await calls.due(NOW, 10)
        await calls.overdue(NOW, 10)
        await calls.films_due(NOW, 10)
        assert [batch async for batch in calls.ended()] == []
        assert await plans.scans() == []


def film(**changes):
    return {"next_at": NOW, "claim": None, "attempts": 0, "file": None, "made_at": None, **changes}


@pytest.mark.gen_test
async def test_a_film_is_ordered_once_and_claimed_by_one_until_its_lease_ends(calls):
    await calls.add(a_call("c1"))
    assert await calls.order_film("c1", film(), seen=None)
    assert not await calls.order_film("c1", film(), seen=None)
    assert [call["_id"] for call in await calls.films_due(NOW, 10)] == ["c1"]
    later = NOW + timedelta(minutes=2)
    assert await calls.claim_film("c1", seen=NOW, token="one", until=later)
    assert not await calls.claim_film("c1", seen=NOW, token="two", until=later)
    assert await calls.films_due(NOW, 10) == []
    assert not await calls.write_film("c1", "two", {"file": "x"})
    assert await calls.write_film("c1", "one", {"file": "f", "made_at": NOW, "next_at": None, "claim": None})
    made = (await calls.get("c1"))["film"]
    assert (made["file"], made["attempts"]) == ("f", 1)
    assert not await calls.order_film("c1", film(), seen=film(made_at=None))
    assert await calls.order_film("c1", film(file="f"), seen=made)


@pytest.mark.gen_test
async def test_calls_that_have_ended_are_gone_through(calls):
    await calls.add(a_call("c1"))
    await calls.add(a_call("c2", ended_at=NOW))
    assert [call["_id"] async for batch in calls.ended() for call in batch] == ["c2"]
