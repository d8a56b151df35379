"""Cancelling, declining, ending, refunding: the visit moves at once, its order follows."""

import asyncio
from datetime import timedelta

import pytest

from scripts.acting import Refused, until
from tests.people import fresh_key, in_progress, submitted, waiting


async def order_becomes(stage, status):
    order = stage.found["visit"]["order"]["id"]

    async def has_become():
        return (await stage.patient.get(f"/orders/{order}"))["status"] == status

    await until(has_become)
    return await stage.patient.get(f"/orders/{order}")


async def pass_deadline(hospital, visit):
    """Let the visit's stored deadline be a second ago, and let the worker look."""
    past = hospital.ctx.clock.now() - timedelta(seconds=1)
    await hospital.ctx.visits.note(visit, at=past, deadline_at=past)
    await hospital.ctx.duties.run_due()


@pytest.mark.feature("P1.7")
@pytest.mark.gen_test(timeout=60)
async def test_cancelling_before_the_doctor_accepts_gives_the_whole_fee_back(hospital):
    stage = await waiting(hospital)
    visit = stage.found["visit"]["id"]
    cancelled = await stage.patient.post(f"/visits/{visit}/cancel")
    again = await stage.patient.post(f"/visits/{visit}/cancel")
    order = await order_becomes(stage, "refunded")
    await stage.close()
    assert (cancelled["status"], again["status"]) == ("cancelled", "cancelled")
    assert (order["refund"]["amount"], order["refund"]["state"]) == (order["amount"], "SUCCESS")
    with pytest.raises(Refused) as refused:
        await stage.doctor.post(f"/visits/{visit}/accept")
    assert refused.value.code == "wrong_state"


@pytest.mark.feature("P1.7")
@pytest.mark.gen_test(timeout=60)
async def test_cancelling_an_unpaid_visit_closes_its_order(hospital):
    stage = await submitted(hospital)
    await stage.patient.post(f"/visits/{stage.found['visit']['id']}/cancel")
    order = await order_becomes(stage, "closed")
    assert order["paid_at"] is None
    with pytest.raises(Refused) as refused:
        await stage.patient.post(f"/orders/{order['id']}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    assert refused.value.code == "wrong_state"


@pytest.mark.feature("P1.7")
@pytest.mark.gen_test(timeout=90)
async def test_a_cancel_that_races_with_the_accept_has_exactly_one_winner(hospital):
    for _ in range(3):
        stage = await waiting(hospital)
        visit = stage.found["visit"]["id"]
        answers = await asyncio.gather(
            stage.patient.send("POST", f"/visits/{visit}/cancel"), stage.doctor.send("POST", f"/visits/{visit}/accept")
        )
        ended = await stage.patient.get(f"/visits/{visit}")
        await stage.close()
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert ended["status"] in ("cancelled", "in_progress")
        assert [step["act"] for step in ended["history"]].count("cancel") == (ended["status"] == "cancelled")


@pytest.mark.gen_test(timeout=60)
async def test_an_accepted_visit_cannot_be_cancelled(hospital):
    stage = await in_progress(hospital)
    with pytest.raises(Refused) as refused:
        await stage.patient.post(f"/visits/{stage.found['visit']['id']}/cancel")
    await stage.close()
    assert refused.value.code == "wrong_state"
    assert (await stage.patient.get(f"/visits/{stage.found['visit']['id']}"))["status"] == "in_progress"


@pytest.mark.gen_test(timeout=60)
async def test_a_declined_visit_tells_the_reason_and_gives_the_fee_back(hospital):
    stage = await waiting(hospital)
    visit = stage.found["visit"]["id"]
    declined = await stage.doctor.post(f"/visits/{visit}/decline", {"reason": "正在手术"})
    await order_becomes(stage, "refunded")
    await stage.close()
    seen = await stage.patient.get(f"/visits/{visit}")
    assert (declined["status"], seen["reason"]) == ("declined", "正在手术")


@pytest.mark.gen_test(timeout=60)
async def test_a_visit_judged_a_first_visit_is_terminated_and_given_back(hospital):
    stage = await in_progress(hospital)
    body = {"reason": "JUDGED_FIRST_VISIT", "advice": "请到心血管内科门诊就诊"}
    ended = await stage.doctor.post(f"/visits/{stage.found['visit']['id']}/terminate", body)
    await order_becomes(stage, "refunded")
    await stage.close()
    assert (ended["status"], ended["advice"]) == ("terminated", "请到心血管内科门诊就诊")


@pytest.mark.gen_test(timeout=60)
async def test_a_terminated_visit_keeps_its_fee_unless_the_doctor_gives_it_back(hospital):
    stage = await in_progress(hospital)
    body = {"reason": "UNSUITABLE", "advice": "建议线下检查"}
    await stage.doctor.post(f"/visits/{stage.found['visit']['id']}/terminate", body)
    await hospital.ctx.duties.run_due()
    order = await stage.patient.get(f"/orders/{stage.found['visit']['order']['id']}")
    await stage.close()
    assert (order["status"], order["refund"]) == ("paid", None)


@pytest.mark.gen_test(timeout=60)
async def test_the_doctor_refunds_a_completed_visit_within_a_week_and_it_stays_completed(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.doctor.post(f"/visits/{visit}/complete")
    refunded = await stage.doctor.post(f"/visits/{visit}/refund", {"reason": "误操作"}, key=fresh_key())
    order = await order_becomes(stage, "refunded")
    await stage.close()
    assert refunded["status"] == "completed"
    assert (order["refund"]["amount"], order["refund"]["reason"]) == (order["amount"], "误操作")


@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=60)
async def test_an_unpaid_visit_expires_and_closes_its_order(hospital):
    stage = await submitted(hospital)
    visit = stage.found["visit"]["id"]
    await pass_deadline(hospital, visit)
    order = await order_becomes(stage, "closed")
    seen = await stage.patient.get(f"/visits/{visit}")
    assert (seen["status"], seen["reason"], order["status"]) == ("expired", "timeout", "closed")


@pytest.mark.gen_test(timeout=60)
async def test_a_visit_nobody_accepts_is_declined_and_given_back(hospital):
    stage = await waiting(hospital)
    await pass_deadline(hospital, stage.found["visit"]["id"])
    await order_becomes(stage, "refunded")
    await stage.close()
    seen = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
    assert (seen["status"], seen["reason"]) == ("declined", "timeout")


@pytest.mark.gen_test(timeout=60)
async def test_a_visit_in_which_somebody_has_just_spoken_does_not_complete_by_itself(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.lines["patient"].say(visit, "还在吗")
    await pass_deadline(hospital, visit)
    spoken = await hospital.ctx.visits.get(visit)
    assert spoken["status"] == "in_progress"
    assert spoken["deadline_at"] > hospital.ctx.clock.now() + timedelta(hours=47)
    await stage.close()


@pytest.mark.feature("P1.11")
@pytest.mark.gen_test(timeout=60)
async def test_a_visit_is_rated_once_after_it_has_ended(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    with pytest.raises(Refused) as early:
        await stage.patient.post(f"/visits/{visit}/rating", {"stars": 5})
    await stage.doctor.post(f"/visits/{visit}/complete")
    answers = await asyncio.gather(
        *(stage.patient.send("POST", f"/visits/{visit}/rating", json={"stars": n, "text": "很好"}) for n in (4, 5))
    )
    await stage.close()
    assert early.value.code == "wrong_state"
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    given = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await stage.doctor.get(f"/visits/{visit}/rating"))["stars"] == given["stars"]
    for wrong in ({"stars": 0}, {"stars": 6}, {"stars": "5"}, {}):
        answer = await stage.patient.send("POST", f"/visits/{visit}/rating", json=wrong)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["stars"])

    async def is_public():
        ratings = await hospital.person().get(f"/doctors/{stage.found['doctor']['id']}/ratings")
        return [(one["author"], one["stars"]) for one in ratings["items"][:1]] == [("演*", given["stars"])]

    await until(is_public)


@pytest.mark.gen_test(timeout=60)
async def test_a_move_that_takes_no_body_refuses_fields_it_does_not_know(hospital):
    stage = await submitted(hospital)
    visit = stage.found["visit"]["id"]
    answer = await stage.patient.send("POST", f"/visits/{visit}/cancel", json={"reason": "不需要了"})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["reason"])
    assert (await stage.patient.get(f"/visits/{visit}"))["status"] == "pending_payment"


@pytest.mark.gen_test(timeout=60)
async def test_an_order_paid_in_time_is_not_expired_because_its_duty_was_late(hospital):
    stage = await submitted(hospital)
    visit, order = stage.found["visit"]["id"], stage.found["visit"]["order"]["id"]
    now = hospital.ctx.clock.now()
    await hospital.ctx.orders.note(order, at=now, set={"status": "paid", "paid_at": now})
    await pass_deadline(hospital, visit)
    seen = await stage.patient.get(f"/visits/{visit}")
    assert (seen["status"], seen["order"]["status"]) == ("waiting", "paid")
