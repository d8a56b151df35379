import asyncio
from datetime import timedelta

import pytest

from core.errors import Conflict, NotFound, WrongState
from core.ratings import service
from tests.core.partial import caller_of


def rate(case, stars=5, text="解释得很清楚", who=None):
    return service.rate(case.house.ctx, caller=who or case.patient, visit_id=case.id, stars=stars, text=text)


@pytest.mark.feature("P1.11")
@pytest.mark.gen_test(timeout=30)
async def test_a_rating_stands_in_the_visit_and_its_history_and_is_counted(house):
    case = await house.completed()
    given = await rate(case, 4)
    visit = await case.visit()
    last = visit["history"][-1]
    assert visit["rating"] == given
    assert (given["stars"], given["text"]) == (4, "解释得很清楚")
    assert (last["act"], last["actor"], last["role"], last["frm"], last["to"]) == (
        "rate",
        case.patient.id,
        "patient",
        "completed",
        "completed",
    )
    assert (visit["status"], visit["duties"]) == ("completed", [])
    assert (await house.ctx.ratings.of_visit(case.id))["stars"] == 4


@pytest.mark.rule("R6-9")
@pytest.mark.gen_test(timeout=30)
async def test_only_a_visit_that_has_taken_place_is_rated_within_its_time(house):
    waiting, cancelled, late = await house.waiting(), await house.waiting(), await house.completed()
    await cancelled.act(cancelled.patient, "cancel")
    month = timedelta(seconds=house.ctx.policy.rating_seconds + 1)
    await house.ctx.visits.note(late.id, set={"ended_at": (await late.visit())["ended_at"] - month})
    for case in (waiting, cancelled, late):
        with pytest.raises(WrongState):
            await rate(case)
        assert (await case.visit())["rating"] is None
        assert await house.ctx.ratings.of_visit(case.id) is None


@pytest.mark.gen_test(timeout=30)
async def test_a_terminated_visit_is_rated_too(house):
    case = await house.in_progress()
    await case.act(case.doctor, "terminate", reason="EMERGENCY", advice="请立即就诊")
    assert (await rate(case, 1))["stars"] == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_gets_one_rating_whoever_sends_however_many_at_once(house):
    case = await house.completed()
    answers = await asyncio.gather(*(rate(case, stars) for stars in (1, 2, 3)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Conflict)]
    (given,) = [one for one in answers if not isinstance(one, Exception)]
    with pytest.raises(Conflict) as again:
        await rate(case)
    visit = await case.visit()
    assert ([one.code for one in refused], again.value.code) == (["already_rated"] * 2, "already_rated")
    assert visit["rating"]["stars"] == given["stars"]
    assert [one["act"] for one in visit["history"]].count("rate") == 1
    assert (await house.ctx.ratings.of_visit(case.id))["stars"] == given["stars"]


@pytest.mark.gen_test(timeout=30)
async def test_the_two_read_it_and_strangers_find_neither_visit_nor_rating(house):
    case = await house.completed()
    for reader in (case.patient, case.doctor):
        with pytest.raises(NotFound):
            await service.of_visit(house.ctx, caller=reader, visit_id=case.id)
    await rate(case, 3)
    for reader in (case.patient, case.doctor):
        assert (await service.of_visit(house.ctx, caller=reader, visit_id=case.id))["stars"] == 3
    for stranger in (caller_of("patient"), house.other_doctor):
        with pytest.raises(NotFound):
            await service.of_visit(house.ctx, caller=stranger, visit_id=case.id)
        with pytest.raises(NotFound):
            await rate(case, who=stranger)


@pytest.mark.feature("P4.1")
@pytest.mark.gen_test(timeout=30)
async def test_a_patients_own_ratings_stand_newest_first_with_doctor_and_visit(house):
    case = await house.completed()
    stranger = await house.completed()
    await rate(case, 4)
    await rate(stranger, 1)
    (own,) = await service.own(house.ctx, caller=case.patient, limit=20, cursor=None)
    assert (own["stars"], own["text"], own["visit"]["id"]) == (4, "解释得很清楚", case.id)
    assert own["doctor"] == {"id": case.doctor.id, "name": "王小明", "department_id": "cardiology"}
    assert await service.own(house.ctx, caller=case.patient, limit=20, cursor=own["_id"]) == []
    assert await service.own(house.ctx, caller=caller_of("patient"), limit=20, cursor=None) == []
