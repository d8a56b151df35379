import asyncio

import pytest

from core.auth import Actor
from core.errors import WrongState
from rtc import states, steps


@pytest.mark.gen_test
async def test_a_step_from_where_a_call_no_longer_stands_is_nothing(calling, case):
    call = await calling.ringing(case)
    assert await steps.step(calling.ctx, call, "miss") is not None
    assert await steps.step(calling.ctx, call, "miss") is None


@pytest.mark.gen_test
async def test_a_step_that_the_table_does_not_have_is_refused(calling, case):
    call = await calling.ringing(case)
    for act, role in (("connect", "system"), ("decline", "doctor"), ("close", "patient")):
        with pytest.raises(WrongState):
            await steps.step(calling.ctx, call, act, by=Actor("x", role))
    assert (await calling.stored(call["_id"]))["version"] == call["version"]


@pytest.mark.gen_test
async def test_an_end_sets_the_two_and_the_visit_free_and_says_so_everywhere(calling, case):
    call = await calling.ringing(case)
    told: asyncio.Queue[str] = asyncio.Queue()
    calling.ctx.bus.on(steps.ENDED_TOPIC, lambda said: told.put_nowait(said["call"]))
    ended = await steps.step(calling.ctx, call, "miss")
    assert not {"live_visit", "live_doctor", "live_patient"} & ended.keys()
    assert (ended["deadline_at"], ended["owner"]) == (None, None)
    assert told.get_nowait() == call["_id"]


@pytest.mark.gen_test
async def test_a_deadline_that_has_come_is_acted_on_by_whoever_asks(calling, case):
    call = await calling.ringing(case)
    assert await steps.current(calling.ctx, call) == call
    call["deadline_at"] = call["created_at"]
    await calling.ctx.store.db["calls"].update_one({"_id": call["_id"]}, {"$set": {"deadline_at": call["created_at"]}})
    assert (await steps.current(calling.ctx, call))["reason"] == "missed"


@pytest.mark.gen_test
async def test_a_deadline_that_was_moved_meanwhile_is_not_acted_on(calling, case):
    call = await calling.ringing(case)
    seen = {**call, "deadline_at": call["created_at"]}
    await steps.expire(calling.ctx, seen)
    assert (await calling.stored(call["_id"]))["status"] == "ringing"


@pytest.mark.gen_test
async def test_all_are_ended_wherever_they_are_by_then(calling, case, media):
    call = await calling.ringing(case)
    talking = await calling.visit()
    other = await calling.active(talking, media)
    stale = {**other, "status": "connecting"}
    await steps.end_all(calling.ctx, [call, stale], "close", why="visit_ended")
    stored = [await calling.stored(one["_id"]) for one in (call, other)]
    assert [(one["status"], one["reason"]) for one in stored] == [("ended", "visit_ended")] * 2
    assert all(one["status"] not in states.LIVE for one in stored)
