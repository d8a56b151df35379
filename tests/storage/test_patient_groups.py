import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.ids import new_id
from storage.indexes import ensure_indexes
from storage.patient_groups import GroupTaken, PatientGroupRepository
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def a_group(doctor: str, name: str, slot: str, **changes: Any) -> Any:
    return {
        "_id": new_id(),
        "doctor_id": doctor,
        "name": name,
        "slot": slot,
        "patients": [],
        "version": 1,
        "created_at": NOW,
        "updated_at": NOW,
    } | changes


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def groups(io_loop, indexed):
    io_loop.run_sync(lambda: indexed.db["patient_groups"].delete_many({}))
    return PatientGroupRepository(indexed)


@pytest.mark.gen_test
async def test_a_doctors_groups_are_given_in_the_order_they_were_made(groups):
    made = [a_group("d", "复查", "000"), a_group("d", "高血压", "001"), a_group("other", "复查", "000")]
    for group in made:
        await groups.add(group)
    assert await groups.of_doctor("d") == made[:2]
    assert await groups.of_doctor("nobody") == []
    assert await groups.get(made[2]["_id"]) == made[2]
    assert await groups.get("unknown") is None


@pytest.mark.parametrize("same", [{"name": "复查"}, {"slot": "000"}])
@pytest.mark.gen_test
async def test_a_doctor_has_one_group_of_a_name_and_one_in_a_place(groups, same):
    first = a_group("d", "复查", "000")
    await groups.add(first)
    with pytest.raises(GroupTaken):
        await groups.add(a_group("d", "高血压", "001") | same)
    assert await groups.of_doctor("d") == [first]


@pytest.mark.gen_test
async def test_a_group_is_renamed_unless_the_name_is_taken_or_it_is_gone(groups):
    first, second = a_group("d", "复查", "000", patients=["p"]), a_group("d", "高血压", "001")
    await groups.add(first)
    await groups.add(second)
    assert await groups.rename(first["_id"], "随访", at=LATER) is True
    assert await groups.get(first["_id"]) == first | {"name": "随访", "version": 2, "updated_at": LATER}
    with pytest.raises(GroupTaken):
        await groups.rename(second["_id"], "随访", at=LATER)
    assert await groups.get(second["_id"]) == second
    assert await groups.remove(second["_id"]) is True
    assert await groups.remove(second["_id"]) is False
    assert await groups.rename(second["_id"], "无", at=LATER) is False
    assert await groups.get(second["_id"]) is None


@pytest.mark.gen_test
async def test_a_patient_is_put_in_once_and_taken_out(groups):
    group = a_group("d", "复查", "000")
    await groups.add(group)
    answers = await asyncio.gather(*(groups.put(group["_id"], "p", most=5, at=LATER) for _ in range(4)))
    assert answers == [True] * 4
    assert (await groups.get(group["_id"]))["patients"] == ["p"]
    await groups.take_out(group["_id"], "nobody", at=LATER)
    assert (await groups.get(group["_id"]))["patients"] == ["p"]
    await groups.take_out(group["_id"], "p", at=LATER)
    assert (await groups.get(group["_id"]))["patients"] == []
    assert await groups.put("unknown", "p", most=5, at=LATER) is False


@pytest.mark.gen_test
async def test_a_group_never_holds_more_than_it_may(groups):
    group = a_group("d", "复查", "000")
    await groups.add(group)
    answers = await asyncio.gather(*(groups.put(group["_id"], f"p{n}", most=3, at=LATER) for n in range(8)))
    assert answers.count(True) == 3
    assert len((await groups.get(group["_id"]))["patients"]) == 3


@pytest.mark.gen_test
async def test_groups_are_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        groups = PatientGroupRepository(store)
        await groups.of_doctor("d")
        await groups.rename("g", "x", at=NOW)
        await groups.put("g", "p", most=3, at=NOW)
        await groups.take_out("g", "p", at=NOW)
        assert await plans.scans() == []
