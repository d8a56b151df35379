from datetime import UTC, datetime, timedelta

import pytest

from core.ids import new_id
from storage.indexes import ensure_indexes
from storage.patients import PatientRepository, PatientTaken
from tests.storage.plans import watched

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


def patient(account: str, slot: str | None = "00", **changes):
    return {
        "_id": new_id(),
        "account_id": account,
        "slot": slot,
        "id_index": new_id(),
        "self_of": None,
        "removed_at": None,
        "retain_until": AT,
        "version": 1,
        "history": [],
    } | changes


@pytest.fixture
def patients(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return PatientRepository(store)


@pytest.mark.gen_test
async def test_listed_patients_are_the_account_s_own_newest_first(patients):
    first, second = patient("listed"), patient("listed", "01")
    for one in (first, second, patient("listed", None, id_index=None, removed_at=AT), patient("another")):
        await patients.add(one)
    assert await patients.listed_of("listed") == [second, first]


@pytest.mark.parametrize("key", [{"slot": "00"}, {"id_index": "same"}, {"self_of": "taken"}])
@pytest.mark.gen_test
async def test_place_number_and_self_are_unique_while_listed(patients, key):
    account = new_id()
    here = patient(account, "00", id_index="same", self_of="taken")
    await patients.add(here)
    free = {"slot": "01", "id_index": "other", "self_of": None}
    with pytest.raises(PatientTaken):
        await patients.add(patient(account, **(free | key)))
    await patients.add(patient(new_id(), **(free | key)))
    other = patient(account, **free)
    await patients.add(other)
    with pytest.raises(PatientTaken):
        await patients.change(other["_id"], seen_version=1, values=key, entries=[], at=AT)
    gone = {"slot": None, "id_index": None, "self_of": None, "removed_at": AT}
    assert await patients.change(here["_id"], seen_version=1, values=gone, entries=[], at=AT)
    assert await patients.change(other["_id"], seen_version=1, values=key, entries=[], at=AT)


@pytest.mark.gen_test
async def test_change_is_made_only_to_the_version_seen(patients):
    one = patient(new_id())
    await patients.add(one)
    entry = {"act": "edit"}
    assert await patients.change(one["_id"], seen_version=1, values={"gender": "2"}, entries=[entry], at=AT) is True
    assert await patients.change(one["_id"], seen_version=1, values={"gender": "1"}, entries=[entry], at=AT) is False
    assert await patients.get(one["_id"]) == one | {
        "gender": "2",
        "version": 2,
        "updated_at": AT,
        "history": [entry],
    }


@pytest.mark.rule("R5-1")
@pytest.mark.gen_test
async def test_retention_is_only_ever_prolonged(patients):
    one = patient(new_id())
    await patients.add(one)
    for days in (5, 3):
        await patients.retain(one["_id"], AT + timedelta(days=days))
    assert (await patients.get(one["_id"]))["retain_until"] == AT + timedelta(days=5)


@pytest.mark.gen_test
async def test_patients_are_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await PatientRepository(store).listed_of("a")
        await PatientRepository(store).change("x", seen_version=1, values={}, entries=[], at=AT)
        assert await plans.scans() == []
