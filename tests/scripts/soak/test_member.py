import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from core import tasks
from scripts.acting import until
from scripts.soak import member as members
from scripts.soak.flow import Flow
from scripts.soak.member import Member
from scripts.soak.verdict import place_of
from tests.scripts.soak.stage import SEATS, open_stage, refusal

pytestmark = pytest.mark.gen_test(timeout=30)


@asynccontextmanager
async def joined(stage, messages=0, *, ended=True):
    """A member who says so many, and nothing more."""
    flow = Flow(messages)
    if ended:
        flow.end()
    member = Member(SEATS[0], [stage.port], flow, random.Random(1))
    running = tasks.spawn("test.member", member.run())
    try:
        yield member
    finally:
        member.leave()
        await asyncio.wait_for(running, 10)


async def settled(member):
    await asyncio.wait_for(member.settled.wait(), 10)


def said(stage) -> list[str]:
    return [asked["id"] for asked in stage.asked if asked["op"] == "message.send"]


async def test_it_says_what_is_to_be_said_and_knows_its_acks():
    async with open_stage() as stage, joined(stage, 20) as member:
        await settled(member)
        assert stage.stored == [("P", str(number)) for number in range(20)]
        assert list(member.told.seqs) == list(range(1, 21))
        assert (member.faults, member.told.contradictions, member.told.refused) == ([], 0, set())


async def test_it_catches_up_from_its_own_cursor_when_it_comes():
    async with open_stage() as stage:
        stage.stored = [("D", str(number)) for number in range(7)]
        async with joined(stage) as member:
            await settled(member)
            assert list(member.heard) == [place_of(1, number) for number in range(7)]
            stage.stored.append(("D", "7"))
            await member.catch_up()
            cursors = [list(asked["args"]["cursors"].values()) for asked in stage.asked if asked["op"] == "sync"]
            assert cursors == [[0], [3], [6], [7]]
            assert member.heard[-1] == place_of(1, 7)


async def test_what_was_not_acknowledged_is_said_again_in_order_under_the_same_ids():
    async with open_stage() as stage:
        stage.answers = lambda id_, answer: None
        async with joined(stage, 3) as member:
            await until(lambda: _is(len(stage.stored) == 3))
            stage.answers = lambda id_, answer: answer
            assert member.cut()
            await settled(member)
            assert said(stage) == ["m0", "m1", "m2"] * 2
            assert (list(member.told.seqs), member.counted["dup"], member.told.contradictions) == ([1, 2, 3], 3, 0)


async def test_a_hole_is_closed_by_sync():
    async with open_stage() as stage, joined(stage) as member:
        await settled(member)
        stage.stored = [("D", "0"), ("D", "1")]
        stage.push(2)
        await until(lambda: _is(len(member.heard) == 2))
        stage.stored.append(("D", "2"))
        stage.push(3)
        stage.push(3)
        await until(lambda: _is(len(member.heard) == 3))
        assert (member.counted["holes"], member.faults) == (1, [])


async def test_a_refused_message_is_said_again_and_its_order_is_no_promise():
    refusals = ["m1", "m1"]

    def answers(id_, answer):
        if id_ in refusals:
            refusals.remove(id_)
            return refusal(id_, "unavailable")
        return answer

    async with open_stage() as stage:
        stage.answers = answers
        async with joined(stage, 3) as member:
            await settled(member)
            assert (said(stage).count("m1"), member.told.refused, member.counted["unavailable"]) == (3, {1}, 2)


@pytest.mark.parametrize(
    ("answer", "faults", "contradictions"),
    [
        (lambda id_, answer: {**answer, "data": {"seq": 1, "dup": True}}, 0, 1),
        (lambda id_, answer: refusal(id_, "wrong_state"), 1, 0),
    ],
)
async def test_what_cannot_be_is_a_fault(answer, faults, contradictions):
    async with open_stage() as stage:
        stage.answers = answer
        async with joined(stage, 1) as member:
            await until(lambda: _is(bool(member.faults or member.told.contradictions)))
            assert (len(member.faults), member.told.contradictions) == (faults, contradictions)


async def test_another_message_under_a_known_number_is_a_fault():
    async with open_stage() as stage:
        stage.stored = [("D", "0")]
        async with joined(stage) as member:
            await settled(member)
            stage.stored = [("D", "5")]
            stage.push(1)
            await until(lambda: _is(bool(member.faults)))
            assert member.faults == ["seq 1 was two messages"]


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(members, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(members, "_LOOK_SECONDS", 0.05)
    async with open_stage() as stage:
        stage.answers = lambda id_, answer: None
        async with joined(stage, 1) as member:
            await until(lambda: _is(member.counted["given up"] > 0))
            stage.answers = lambda id_, answer: answer
            await settled(member)


async def test_it_waits_for_a_server_that_is_not_there():
    async with open_stage() as stage:
        port = stage.port
    flow = Flow(0)
    member = Member(SEATS[0], [port], flow, random.Random(1))
    running = tasks.spawn("test.member", member.run())
    await until(lambda: _is(member.counted["ended"] > 0))
    assert not member.cut()
    member.leave()
    await asyncio.wait_for(running, 10)


async def _is(holds: bool) -> bool:
    return holds
