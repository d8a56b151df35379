from datetime import timedelta

import pytest

from rtc import jobs, service
from tests.core.consulting import under_way


@pytest.fixture
def told(ctx, case, io_loop):
    """Events of calls that were pushed to the patient."""
    found, delivered = [], ctx.bus.on_events
    ctx.bus.on_events = found.extend
    io_loop.run_sync(lambda: ctx.bus.present(case.patient.id))
    yield found
    io_loop.run_sync(lambda: ctx.bus.absent(case.patient.id))
    ctx.bus.on_events = delivered


def names(told):
    return [(one["ev"], one["data"]["state"]) for one in told if one["ev"] in ("call.ringing", "call.state")]


@pytest.mark.parametrize(("stage", "reason"), [("ringing", "missed"), ("answered", "failed")])
@pytest.mark.gen_test
async def test_the_worker_ends_a_call_whose_deadline_has_come(calling, case, stage, reason):
    call = await getattr(calling, stage)(case)
    await calling.pass_deadline(call["_id"])
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["reason"], stored["history"][-1]["reason"]) == ("ended", reason, "timeout")
    assert [card["reason"] for card in await calling.cards(case)] == [reason]


@pytest.mark.gen_test
async def test_the_worker_ends_an_interrupted_call_as_lost_and_the_longest_as_hung_up(calling, case, media):
    call = await calling.active(case, media)
    media.room(call["_id"]).fall_silent("doctor", "reconnecting")
    await media.followed()
    await calling.pass_deadline(call["_id"])
    again = await calling.active(case, media)
    await calling.pass_deadline(again["_id"])
    stored = [await calling.stored(one["_id"]) for one in (call, again)]
    assert [(one["reason"], one["history"][-1]["act"]) for one in stored] == [("lost", "lose"), ("hangup", "stop")]


@pytest.mark.gen_test
async def test_a_deadline_of_a_call_that_moved_is_nothing(calling, case):
    call = await calling.ringing(case)
    stale = {**call, "deadline_at": call["created_at"]}
    await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="decline")
    await jobs.deadline(calling.ctx, stale)
    await jobs.deadline(calling.ctx, await calling.stored(call["_id"]))
    assert (await calling.stored(call["_id"]))["reason"] == "declined"


@pytest.mark.gen_test
async def test_each_move_is_told_once(calling, case, told):
    call = await calling.ringing(case)
    await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await under_way()
    assert names(told) == [("call.ringing", "ringing"), ("call.state", "ringing"), ("call.state", "ended")]


@pytest.mark.gen_test
async def test_a_duty_that_runs_late_tells_again_because_nobody_may_have(calling, case, told):
    call = await calling.ringing(case)
    late = {**call, "created_at": call["created_at"] - timedelta(seconds=5)}
    await under_way()
    told.clear()
    await jobs.ring(calling.ctx, late)
    assert names(told) == [("call.ringing", "ringing")]
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await under_way()
    told.clear()
    await jobs.conclude(calling.ctx, {**ended, "ended_at": ended["ended_at"] - timedelta(seconds=5)})
    assert names(told) == [("call.state", "ended")]
    assert len(await calling.cards(case)) == 1


@pytest.mark.gen_test
async def test_what_the_process_that_ended_a_call_did_not_do_the_worker_does(calling, case, monkeypatch):
    call = await calling.ringing(case)
    await under_way()
    with monkeypatch.context() as dying:
        dying.setattr(calling.ctx.duties, "kick", lambda collection, id_: None)
        await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    assert await calling.cards(case) == []
    await calling.ctx.duties.run_due()
    assert [card["reason"] for card in await calling.cards(case)] == ["cancelled"]
    assert (await calling.stored(call["_id"]))["duties"] == []


def test_the_worker_makes_films_and_looks_every_hour_whether_all_recordings_are_there():
    assert {run.__name__: seconds for seconds, run in jobs.PERIODIC} == {
        "release_lost": 1,
        "compose_due": 10,
        "reconcile": 3600,
    }
