"""The `messages` collection: outcomes of writes, reads by range."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.conversations import ConversationRepository, Raise
from storage.indexes import ensure_indexes
from storage.messages import MessageRepository, Outcome, _outcomes
from tests.storage.plans import watched

pytestmark = pytest.mark.gen_test(timeout=30)

AT = datetime(2026, 1, 2, tzinfo=UTC)


def message(conversation, seq, id_=None, **changes):
    return {
        "_id": id_ or f"a/d/{conversation}/{seq}",
        "conversation": conversation,
        "seq": seq,
        "account": "a",
        "role": "patient",
        "kind": "text",
        "body": "sealed",
        "at": AT + timedelta(seconds=seq),
        "recalled_at": None,
        "retain_until": AT,
    } | changes


@pytest.fixture
def messages(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    io_loop.run_sync(lambda: store.db["messages"].delete_many({}))
    return MessageRepository(store)


async def test_each_message_of_a_write_has_its_own_outcome(messages):
    assert await messages.add([message("c", 1), message("d", 1)]) == [Outcome.STORED] * 2
    again, taken = message("c", 2, "a/d/c/1"), message("d", 1, "other")
    outcomes = await messages.add([message("c", 3), again, taken, message("e", 1)])
    assert outcomes == [Outcome.STORED, Outcome.REPEATED, Outcome.TAKEN, Outcome.STORED]
    assert [one["_id"] for one in await messages.between("d", 0, 9)] == ["a/d/d/1"]


def test_a_write_concern_that_was_not_met_leaves_all_unknown():
    taken = {"index": 1, "code": 11000, "keyPattern": {"conversation": 1, "seq": 1}}
    details = {"writeErrors": [taken, {"index": 2, "code": 14031}], "writeConcernErrors": [{"code": 64}]}
    assert _outcomes(3, details) == [Outcome.UNKNOWN, Outcome.TAKEN, Outcome.UNKNOWN]


async def test_reads_are_by_range_and_in_order(messages):
    await messages.add([message("c", seq) for seq in (5, 3, 1, 4, 2)])
    assert [one["seq"] for one in await messages.between("c", 1, 4)] == [2, 3, 4]
    assert await messages.between("c", 4, 4) == []
    assert (await messages.at("c", 3))["_id"] == "a/d/c/3"
    assert await messages.at("c", 6) is None
    assert (await messages.get("a/d/c/5"))["at"] == AT + timedelta(seconds=5)


async def test_the_last_number_is_found_from_any_number_below(messages, store):
    for start in range(0, 1_200, 200):
        await messages.add([message("long", seq) for seq in range(start + 1, start + 201)])
    assert [await messages.last_seq("long", known) for known in (None, 0, 700, 1_199, 1_200)] == [1_200] * 5
    await ConversationRepository(store).raise_marks({"long": Raise(1_100)})
    assert await messages.last_seq("long") == 1_200
    assert await messages.last_seq("empty") == 0


async def test_the_hospitals_own_words_do_not_count_as_spoken(messages):
    await messages.add([message("c", 1), message("c", 2)])
    await messages.add([message("c", seq, account="system") for seq in range(3, 130)])
    await messages.add([message("s", 1, account="system")])
    assert await messages.last_spoken_at("c") == AT + timedelta(seconds=2)
    assert await messages.last_spoken_at("s") is None
    assert await messages.last_spoken_at("empty") is None


async def test_a_recalled_message_is_kept(messages):
    await messages.add([message("c", 1)])
    await messages.recall("a/d/c/1", AT)
    assert (await messages.at("c", 1)) == message("c", 1, recalled_at=AT)


async def test_no_read_scans_the_collection(mongo_uri, database):
    async with watched(mongo_uri, database + "_plans") as (watched_store, plans):
        messages = MessageRepository(watched_store)
        await messages.add([message("c", seq) for seq in range(1, 30)])
        plans.forget()
        await messages.between("c", 0, 10)
        await messages.at("c", 3)
        await messages.last_seq("c")
        await messages.last_spoken_at("c")
        await messages.get("a/d/c/3")
        await messages.recall("a/d/c/3", AT)
        assert await plans.scans() == []
