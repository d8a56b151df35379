"""Marks are written late, together, and never fall."""

import pytest

from im.marks import EVERY, Marks
from storage.conversations import ConversationRepository
from storage.mongo import STORE_AWAY

pytestmark = pytest.mark.gen_test(timeout=20)


class Faulty(ConversationRepository):
    is_away = False
    calls = 0

    async def raise_marks(self, raises):
        if raises:
            self.calls += 1
        if self.is_away:
            raise STORE_AWAY[0]("away")
        await super().raise_marks(raises)


@pytest.fixture
def conversations(indexed):
    return Faulty(indexed)


async def test_what_has_risen_is_written_in_one_call(conversations):
    marks = Marks(conversations)
    for seq in (1, 3, 2):
        marks.stored("c1", seq * EVERY)
        marks.read("c2", "a", seq)
    assert marks.unwritten("c2") == {"a": 3}
    await marks.stop()
    assert conversations.calls == 1
    assert await conversations.get("c1") == {"_id": "c1", "last_seq": 3 * EVERY}
    assert (await conversations.get("c2"))["read"] == {"a": 3}
    assert marks.unwritten("c2") == {}


async def test_only_some_of_the_numbers_are_marked_so_that_messages_cost_no_writes(conversations):
    marks = Marks(conversations)
    for seq in range(1, 2 * EVERY):
        marks.stored("c5", seq)
    await marks.stop()
    assert conversations.calls == 1
    assert await conversations.get("c5") == {"_id": "c5", "last_seq": EVERY}


async def test_a_mark_never_falls(conversations):
    marks = Marks(conversations)
    marks.read("c3", "a", 5)
    await marks.write()
    marks.read("c3", "a", 2)
    await marks.stop()
    assert (await conversations.get("c3"))["read"] == {"a": 5}


async def test_with_the_store_away_marks_are_kept_and_written_afterwards(conversations):
    marks = Marks(conversations)
    marks.read("c4", "a", 5)
    conversations.is_away = True
    await marks.write()
    marks.read("c4", "a", 4)
    marks.stored("c4", EVERY)
    assert marks.unwritten("c4") == {"a": 5}
    conversations.is_away = False
    await marks.stop()
    assert await conversations.get("c4") == {"_id": "c4", "last_seq": EVERY, "read": {"a": 5}}
