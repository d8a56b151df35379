"""Marks are written late, together, and never fall."""

import asyncio

import pytest

from core.tasks import spawn, stop
from im.marks import EVERY, PARTS, Marks
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


@pytest.mark.parametrize(("count", "calls"), [(5, 3), (2 * PARTS, PARTS), (4 * PARTS, PARTS)])
async def test_many_are_written_in_parts_so_that_no_message_waits_for_all_of_them(conversations, count, calls):
    marks = Marks(conversations)
    names = [f"{count} many{number}" for number in range(count)]
    for name in names:
        marks.read(name, "a", 7)
    await marks.write(breath=0.001)
    assert conversations.calls == calls
    assert {one["_id"]: one["read"] for one in (await conversations.many(names)).values()} == {
        name: {"a": 7} for name in names
    }


async def test_a_stop_in_the_middle_of_a_write_loses_no_mark(conversations):
    marks, begun = Marks(conversations), asyncio.Event()
    raise_marks = conversations.raise_marks

    async def hang(raises):
        begun.set()
        await asyncio.Event().wait()

    conversations.raise_marks = hang
    marks.read("c6", "a", 5)
    writing = spawn("marks", marks.write())
    await begun.wait()
    await stop(writing)
    conversations.raise_marks = raise_marks
    await marks.stop()
    assert (await conversations.get("c6"))["read"] == {"a": 5}


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
