import asyncio

import pytest

from core import tasks
from scripts.soak import flow as flows
from scripts.soak.flow import Flow, SoakFailed

pytestmark = pytest.mark.gen_test


def say(flow, times) -> int:
    return sum(flow.say() for _ in range(times))


async def test_it_flows_until_it_is_ended_however_little_was_wanted():
    flow = Flow(2)
    assert (say(flow, 5), flow.is_enough, flow.goes_on) == (5, True, True)
    flow.end()
    assert (say(flow, 5), flow.said) == (0, 5)


async def test_ended_early_it_still_says_what_was_wanted():
    flow = Flow(4)
    say(flow, 1)
    flow.end()
    assert (say(flow, 9), flow.is_enough) == (3, True)


async def test_ended_at_once_nothing_more_is_said():
    flow = Flow(100)
    say(flow, 7)
    flow.end(at_once=True)
    assert (flow.say(), flow.said) == (False, 7)


async def test_who_waits_for_more_is_woken_by_the_last_of_it():
    flow = Flow(0)
    waiting = [tasks.spawn("test.more", flow.more(number)) for number in (3, 1)]
    await asyncio.sleep(0)
    flow.ack()
    await waiting[1]
    flow.ack()
    await asyncio.sleep(0)
    assert not waiting[0].done()
    flow.ack()
    await waiting[0]


async def test_who_waits_is_let_go_when_nothing_more_is_said():
    flow = Flow(100)
    waiting = tasks.spawn("test.more", flow.more(3))
    await asyncio.sleep(0)
    flow.end(at_once=True)
    await waiting
    await flow.more(3)


async def test_a_chat_that_has_stopped_is_told(monkeypatch):
    monkeypatch.setattr(flows, "STUCK_SECONDS", 0.05)
    with pytest.raises(SoakFailed, match="nothing was acknowledged"):
        await Flow(0).more(1)
