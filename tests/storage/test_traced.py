from datetime import UTC, datetime, timedelta

import pytest

from storage.traced import UNTRACED, Traced, owed, owing
from tests.storage.plans import watched

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
STEP = {"at": NOW, "actor": "a", "role": "admin", "act": "create", "frm": "", "to": "", "reason": None}


@pytest.fixture
def traced(io_loop, store):
    io_loop.run_sync(lambda: store.db["things"].delete_many({}))
    return Traced(store.db["things"])


async def change(traced, at):
    await traced._docs.update_one({"_id": "1"}, {"$push": {"history": {**STEP, "at": at}}, **owing(at)})


def test_a_new_document_is_marked_with_its_first_step_or_the_time_given_or_not_at_all():
    assert owed({"history": [STEP, {"at": NOW + timedelta(1)}]})["unaudited_since"] == NOW
    assert owed({"_id": 1}, NOW)["unaudited_since"] == NOW
    assert owed({"history": []}) == {"history": []}


@pytest.mark.gen_test
async def test_what_waits_is_told_with_its_steps_and_no_more(traced):
    await traced._docs.insert_one(owed({"_id": "1", "history": [STEP], "condition": "sealed"}))
    await traced._docs.insert_one({"_id": "2", "history": [STEP]})
    assert await traced.unaudited(5) == [{"_id": "1", "history": [STEP], "unaudited_since": NOW}]


@pytest.mark.gen_test
async def test_the_earliest_change_keeps_the_mark(traced):
    await traced._docs.insert_one({"_id": "1", "history": []})
    for minutes in (5, 9):
        await change(traced, NOW + timedelta(minutes=minutes))
    assert (await traced.unaudited(5))[0]["unaudited_since"] == NOW + timedelta(minutes=5)


@pytest.mark.gen_test
async def test_a_document_that_was_changed_while_it_was_copied_goes_on_waiting(traced):
    await traced._docs.insert_one(owed({"_id": "1", "history": [STEP]}))
    await change(traced, NOW)
    assert await traced.note_audited("1", 1) is False
    assert await traced.note_audited("1", 2) is True
    assert await traced.unaudited(5) == []
    assert (await traced._docs.find_one({"_id": "1"}))["audited_steps"] == 2
    await change(traced, NOW)
    assert [one["audited_steps"] for one in await traced.unaudited(5)] == [2]


@pytest.mark.gen_test
async def test_a_document_that_is_one_step_itself_has_no_history(traced):
    await traced._docs.insert_one(owed({"_id": 7}, NOW))
    assert await traced.note_audited(7, None) is True
    assert await traced._docs.find_one({"_id": 7}) == {"_id": 7}


@pytest.mark.gen_test
async def test_readers_do_not_see_the_mark(traced):
    await traced._docs.insert_one(owed({"_id": "1", "history": [STEP]}) | {"audited_steps": 0})
    assert await traced._docs.find_one({"_id": "1"}, UNTRACED) == {"_id": "1", "history": [STEP]}


@pytest.mark.gen_test
async def test_what_waits_is_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await Traced(store.db["visits"]).unaudited(5)
        assert await plans.scans() == []
