"""The `conversations` collection."""

import pytest

from storage.conversations import ConversationRepository, Raise

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_marks_only_rise(store):
    conversations = ConversationRepository(store)
    await conversations.raise_marks({"c1": Raise(5, {"a": 3}), "c2": Raise(1)})
    await conversations.raise_marks({"c1": Raise(2, {"a": 1, "b": 2})})
    assert await conversations.get("c1") == {"_id": "c1", "last_seq": 5, "read": {"a": 3, "b": 2}}
    assert await conversations.many(["c1", "c2", "c3"]) == {
        "c1": {"_id": "c1", "last_seq": 5, "read": {"a": 3, "b": 2}},
        "c2": {"_id": "c2", "last_seq": 1},
    }
    assert await conversations.get("c3") is None


async def test_nothing_to_raise_asks_nothing(store):
    await ConversationRepository(store).raise_marks({})
