import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from storage.idempotency import IdempotencyRepository
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=31)


@pytest.fixture
def calls(io_loop, store):
    io_loop.run_sync(lambda: store.db["idempotency"].delete_many({}))
    return IdempotencyRepository(store)


@pytest.mark.gen_test
async def test_the_first_is_noted_and_the_second_finds_the_note(calls):
    assert await calls.begin("a1:k1", "print", NOW) is None
    note = {"_id": "a1:k1", "fingerprint": "print", "status": None, "answer": None, "started_at": NOW}
    assert await calls.begin("a1:k1", "other", LATER) == note
    assert await calls.begin("a1:k2", "other", LATER) is None


@pytest.mark.gen_test
async def test_of_many_at_once_one_is_the_first(calls):
    notes = await asyncio.gather(*(calls.begin("a1:k1", "print", NOW) for _ in range(10)))
    assert notes.count(None) == 1


@pytest.mark.gen_test
async def test_a_note_forgotten_between_two_looks_is_made_anew(calls, store, monkeypatch):
    await calls.begin("a1:k1", "print", NOW)
    find_one = calls._docs.find_one

    class Docs:
        insert_one = staticmethod(calls._docs.insert_one)

        @staticmethod
        async def find_one(*asked):
            await store.db["idempotency"].delete_one({"_id": "a1:k1"})
            return await find_one(*asked)

    monkeypatch.setattr(calls, "_docs", Docs())
    assert await calls.begin("a1:k1", "print", LATER) is None
    [note] = await store.db["idempotency"].find({}).to_list(2)
    assert note["started_at"] == LATER


@pytest.mark.gen_test
async def test_one_of_many_takes_a_note_over_and_a_done_one_nobody(calls):
    await calls.begin("a1:k1", "print", NOW)
    taken = await asyncio.gather(*(calls.take_over("a1:k1", NOW, LATER) for _ in range(5)))
    assert taken.count(True) == 1
    await calls.keep("a1:k1", 201, "sealed")
    assert await calls.take_over("a1:k1", LATER, LATER + timedelta(seconds=31)) is False


@pytest.mark.gen_test
async def test_the_first_answer_stays(calls):
    await calls.begin("a1:k1", "print", NOW)
    await calls.keep("a1:k1", 201, "first")
    await calls.keep("a1:k1", 200, "second")
    await calls.forget("a1:k1", NOW)
    kept = await calls.begin("a1:k1", "print", LATER)
    assert (kept["status"], kept["answer"]) == (201, "first")


@pytest.mark.gen_test
async def test_only_the_call_of_that_time_is_forgotten(calls):
    await calls.begin("a1:k1", "print", NOW)
    await calls.take_over("a1:k1", NOW, LATER)
    await calls.forget("a1:k1", NOW)
    assert (await calls.begin("a1:k1", "print", LATER))["started_at"] == LATER
    await calls.forget("a1:k1", LATER)
    assert await calls.begin("a1:k1", "print", LATER) is None


@pytest.mark.gen_test(timeout=20)
async def test_nothing_is_scanned_and_notes_expire_after_seven_days(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        calls = IdempotencyRepository(store)
        for _ in range(2):
            await calls.begin("a9:k9", "print", NOW)
        await calls.take_over("a9:k9", NOW, LATER)
        await calls.keep("a9:k9", 201, "sealed")
        await calls.forget("a9:k9", LATER)
        assert await plans.scans() == []
        indexes = await store.db["idempotency"].index_information()
    [expiring] = [index for index in indexes.values() if "expireAfterSeconds" in index]
    assert (expiring["key"], expiring["expireAfterSeconds"]) == ([("started_at", 1)], 7 * 24 * 3600)
