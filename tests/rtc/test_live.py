import pytest

from rtc import service
from rtc.live import LiveCalls


@pytest.mark.gen_test
async def test_the_end_of_a_visit_ends_its_call_whoever_moves_it(calling, case):
    call = await calling.answered(case)
    await case.act(case.doctor, "terminate", reason="UNSUITABLE", advice="请到医院就诊", refund=False)
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["reason"], stored["history"][-1]["role"]) == ("ended", "visit_ended", "system")
    assert [card["reason"] for card in await calling.cards(case)] == ["visit_ended"]


@pytest.mark.gen_test
async def test_a_visit_without_a_call_has_nothing_to_end(calling, case):
    await calling.ctx.live_calls.end_of_visit(case.id)
    await case.act(case.doctor, "complete")
    assert (await case.visit())["duties"] == []


@pytest.mark.gen_test
async def test_each_member_finds_the_live_call_until_it_ends(calling, case):
    live = calling.ctx.live_calls
    call = await calling.ringing(case)
    found = [await live.of(case.doctor.id, "doctor"), await live.of(case.patient.id, "patient")]
    assert [one["id"] for one in found] == [call["_id"]] * 2
    await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="decline")
    assert [await live.of(case.doctor.id, "doctor"), await live.of(case.patient.id, "patient")] == [None, None]


@pytest.mark.gen_test
async def test_a_call_whose_time_is_over_is_not_live(calling, case):
    call = await calling.ringing(case)
    await calling.ctx.store.db["calls"].update_one({"_id": call["_id"]}, {"$set": {"deadline_at": call["created_at"]}})
    assert await calling.ctx.live_calls.of(case.patient.id, "patient") is None


@pytest.mark.gen_test
async def test_a_live_call_admits_its_two_members_alone(calling, case):
    live = calling.ctx.live_calls
    call = await calling.ringing(case)
    assert [await live.admits(call["_id"], who) for who in (case.doctor.id, case.patient.id, "x")] == [
        True,
        True,
        False,
    ]
    assert not await live.admits("01J0000000000000000000000A", case.doctor.id)
    await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="decline")
    assert not await live.admits(call["_id"], case.patient.id)


def test_one_that_was_never_bound_says_so():
    with pytest.raises(RuntimeError, match="bind"):
        _ = LiveCalls().ctx
