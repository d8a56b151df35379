"""The journal: exactly once, in one order, without gaps, whatever happens to the store."""

import asyncio
import random

import pytest

from core.errors import Conflict, NotFound, ServiceUnavailable
from im import journal as journals
from im import marks
from im.entries import key_of
from storage.messages import MessageRepository, Outcome
from storage.mongo import STORE_AWAY
from tests.im.house import add_visit, stored

pytestmark = pytest.mark.gen_test(timeout=20)

AWAY = STORE_AWAY[0]


def post(process, visit, request, text="x", account=None):
    account = account or visit.patient
    return process.journal.post(
        key=key_of(account, "device", visit.id, request),
        conversation=visit.id,
        account=account,
        role="patient",
        kind="text",
        body={"text": text},
        to=[visit.patient, visit.doctor],
    )


class Faulty(MessageRepository):
    """A repository whose next writes end as told: "lost" before they arrive, "unknown" after they are stored."""

    def __init__(self, store):
        super().__init__(store)
        self.ends = []
        self.sizes = []
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def add(self, messages):
        await self.gate.wait()
        assert len({message["conversation"] for message in messages}) == len(messages)
        self.sizes.append(len(messages))
        end = self.ends.pop(0) if self.ends else None
        if end == "lost" or self.is_away:
            raise AWAY("away")
        outcomes = await super().add(messages)
        if end == "unknown":
            raise AWAY("away")
        if end == "unmet":
            return [Outcome.UNKNOWN] * len(messages)
        return outcomes

    async def last_seq(self, conversation, known=None):
        if self.is_away:
            raise AWAY("away")
        return await super().last_seq(conversation, known)


@pytest.fixture
def messages(indexed):
    return Faulty(indexed)


@pytest.fixture
def process(io_loop, start, messages):
    return io_loop.run_sync(lambda: start(messages=messages))


async def test_many_senders_are_written_together_one_of_a_conversation_at_a_time(process, indexed, messages):
    visits = [await add_visit(indexed) for _ in range(8)]
    await asyncio.gather(*(post(process, visit, "first") for visit in visits))
    messages.sizes.clear()
    messages.gate.clear()
    waiting = [post(process, visit, f"m{number}") for number in range(5) for visit in visits]
    messages.gate.set()
    places = await asyncio.gather(*waiting)
    assert max(messages.sizes) == 8
    assert len(messages.sizes) <= 6
    for visit in visits:
        assert [place.seq for place in places if place.conversation == visit.id] == [2, 3, 4, 5, 6]


async def test_a_busy_conversation_does_not_hold_up_the_others(process, indexed, messages):
    held, free = await add_visit(indexed), await add_visit(indexed)
    await asyncio.gather(post(process, held, "a"), post(process, free, "a"))
    process.journal._lanes[held.id].busy = True  # as while it is being looked up
    waiting = post(process, held, "b")
    assert (await post(process, free, "b")).seq == 2
    assert not waiting.done()
    process.journal._free(process.journal._lanes[held.id])
    assert (await waiting).seq == 2


async def test_two_processes_number_one_conversation_without_gap_or_double(start, indexed, visit):
    first, second = await start(), await start()
    places = await asyncio.gather(
        *(
            post(process, visit, f"{name}{number}")
            for number in range(40)
            for name, process in (("a", first), ("b", second))
        )
    )
    assert sorted(place.seq for place in places) == list(range(1, 81))
    lying = await stored(indexed, visit.id)
    assert [message["seq"] for message in lying] == list(range(1, 81))
    for name in "ab":
        own = [message["_id"] for message in lying if message["_id"].split("/")[3].startswith(name)]
        assert own == [key_of(visit.patient, "device", visit.id, f"{name}{number}") for number in range(40)]


@pytest.mark.parametrize("end", ["lost", "unknown", "unmet"])
async def test_a_write_of_unknown_outcome_is_settled_before_the_ack(process, indexed, visit, messages, end):
    await post(process, visit, "a")
    messages.ends = [end]
    place = await post(process, visit, "b")
    assert (place.seq, place.dup) == (2, False)
    assert (await post(process, visit, "c")).seq == 3
    assert [message["seq"] for message in await stored(indexed, visit.id)] == [1, 2, 3]


async def test_a_message_whose_first_write_was_lost_on_the_way_back_is_pushed(process, visit, messages):
    doctor = await process.line(visit.doctor, "doctor")
    messages.ends = ["unknown"]
    await post(process, visit, "a", "您好")
    assert (await doctor.event("message.created"))["body"] == {"text": "您好"}


async def test_random_faults_leave_every_message_once_and_in_order(process, indexed, messages):
    visits = [await add_visit(indexed) for _ in range(4)]
    chance = random.Random(7)
    messages.ends = [chance.choice(["lost", "unknown", "unmet", None, None, None]) for _ in range(60)]
    waiting = [post(process, visit, f"m{number}") for number in range(25) for visit in visits]
    places = await asyncio.gather(*waiting)
    assert not any(place.dup for place in places)
    for visit in visits:
        lying = await stored(indexed, visit.id)
        assert [message["seq"] for message in lying] == list(range(1, 26))
        assert [message["_id"].split("/")[3] for message in lying] == [f"m{number}" for number in range(25)]


async def test_repeats_in_both_processes_at_once_are_one_message(start, indexed, visit):
    first, second = await start(), await start()
    places = await asyncio.gather(*(post(process, visit, "same") for process in (first, second) for _ in range(5)))
    assert {place.seq for place in places} == {1}
    assert sum(not place.dup for place in places) == 1
    assert len(await stored(indexed, visit.id)) == 1


async def test_a_repeat_burns_no_number(process, visit):
    await post(process, visit, "a")
    await post(process, visit, "a")
    assert (await post(process, visit, "b")).seq == 2


async def test_another_body_under_the_same_key_is_a_conflict_and_changes_nothing(process, indexed, visit):
    await post(process, visit, "a", "一")
    with pytest.raises(Conflict) as caught:
        await post(process, visit, "a", "二")
    assert caught.value.code == "idempotency_conflict"
    assert (await post(process, visit, "b")).seq == 2
    assert len(await stored(indexed, visit.id)) == 2


async def test_with_the_store_away_nothing_is_acknowledged_and_afterwards_all_goes_on(
    process, indexed, visit, messages, monkeypatch
):
    monkeypatch.setattr(journals, "PATIENCE_SECONDS", 0.2)
    await post(process, visit, "a")
    messages.is_away = True
    for request in ("b", "c"):
        with pytest.raises(ServiceUnavailable) as caught:
            await post(process, visit, request)
        assert caught.value.code == "unavailable"
    messages.is_away = False
    monkeypatch.undo()
    assert (await post(process, visit, "c")).seq == 2
    assert [message["seq"] for message in await stored(indexed, visit.id)] == [1, 2]


async def test_beyond_the_queue_senders_are_told_when_to_come_again(process, visit, messages, monkeypatch):
    monkeypatch.setattr(journals, "QUEUE", 3)
    await post(process, visit, "a")
    messages.gate.clear()
    waiting = [post(process, visit, f"m{number}") for number in range(3)]
    with pytest.raises(ServiceUnavailable) as caught:
        post(process, visit, "one too many")
    assert (caught.value.code, caught.value.retry_after > 0) == ("overloaded", True)
    messages.gate.set()
    assert [place.seq for place in await asyncio.gather(*waiting)] == [2, 3, 4]


async def test_a_cold_start_goes_on_after_the_last_number_whether_or_not_it_was_marked(start, visit, monkeypatch):
    monkeypatch.setattr(marks, "EVERY", 5)
    first = await start()
    for number in range(5):
        await post(first, visit, f"m{number}")
    await first.journal.marks.write()
    for number in range(5, 9):
        await post(first, visit, f"m{number}")
    assert (await post(await start(), visit, "later")).seq == 10


async def test_stop_stores_what_waits_and_takes_no_more(process, visit, monkeypatch):
    monkeypatch.setattr(marks, "EVERY", 10)
    waiting = [post(process, visit, f"m{number}") for number in range(10)]
    await process.journal.stop()
    assert [future.result().seq for future in waiting] == list(range(1, 11))
    with pytest.raises(ServiceUnavailable):
        post(process, visit, "late")
    assert (await process.ctx.conversations.get(visit.id))["last_seq"] == 10


@pytest.mark.parametrize("status", ["pending_payment", "in_progress", "completed"])
async def test_the_hospitals_own_words_are_stored_once_for_each_cause_in_any_state(start, indexed, status):
    first, second = await start(), await start()
    visit = await add_visit(indexed, status)
    patient = await first.line(visit.patient)
    card = {"card": "rating_request", "visit": visit.id}
    places = await asyncio.gather(
        *(
            process.journal.append(visit.id, kind="card", body=card, cause=f"visit:{visit.id}:rating_request")
            for process in (first, second, second)
        )
    )
    assert {place.seq for place in places} == {1}
    told = await patient.event("message.created")
    assert (told["kind"], told["body"], told["from"]) == ("card", card, {"account": "system", "role": "system"})
    assert len(await stored(indexed, visit.id)) == 1


async def test_words_for_no_visit_are_not_found_and_a_bad_cause_is_a_mistake(process, visit, indexed):
    with pytest.raises(NotFound):
        await process.journal.append("01KAQ0000000000000000000ZZ", kind="system", body={}, cause="x")
    with pytest.raises(ValueError, match="a cause has"):
        await process.journal.append(visit.id, kind="system", body={}, cause="a/b")
    assert await stored(indexed, visit.id) == []


async def test_quiet_conversations_are_forgotten_and_found_again(process, indexed, monkeypatch):
    monkeypatch.setattr(journals, "REMEMBERED", 4)
    visits = [await add_visit(indexed) for _ in range(12)]
    for visit in visits:
        await post(process, visit, "a")
    assert len(process.journal._lanes) <= 4
    assert (await post(process, visits[0], "b")).seq == 2
