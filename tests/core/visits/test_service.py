import asyncio
from datetime import timedelta
from typing import get_args

import pytest

from core.compliance import years_later
from core.errors import Conflict, NotFound, WrongState
from core.ratings import service as ratings
from core.visits import rules, service, views
from storage.visits import Status
from tests.core.partial import caller_of

ACTS = ("cancel", "accept", "decline", "complete", "terminate", "refund")
STEP = ("act", "actor", "role", "frm", "to", "reason")
EVERYTHING = {"limit": 20, "cursor": None, "kind": None, "status": None, "patient_id": None, "q": None}


def who_acts(case, act):
    return case.patient if act == "cancel" else case.doctor


async def refusal(case, who, act, **given):
    """The refusal of an act, after making sure that it changed nothing."""
    before = await case.visit(), await case.order()
    with pytest.raises((WrongState, NotFound, Conflict)) as refused:
        await case.act(who, act, **given)
    assert (await case.visit(), await case.order()) == before
    return refused.value.code


@pytest.mark.gen_test(timeout=30)
async def test_an_act_that_the_table_does_not_have_from_a_state_changes_nothing(house):
    case = await house.waiting()
    for status in get_args(Status):
        await house.ctx.visits.note(case.id, set={"status": status})
        for act in ACTS:
            if status not in rules.MOVES[act].frm and (act, status) != ("refund", "completed"):
                assert await refusal(case, who_acts(case, act), act, reason="x") == "wrong_state"


@pytest.mark.gen_test(timeout=30)
async def test_nobody_acts_for_the_other_side(house):
    case = await house.waiting()
    assert await refusal(case, case.doctor, "cancel") == "wrong_state"
    assert await refusal(case, case.patient, "accept") == "wrong_state"
    for stranger in (house.other_doctor, caller_of("patient"), caller_of("admin")):
        assert await refusal(case, stranger, "accept") == "not_found"
        assert await refusal(case, stranger, "cancel") == "not_found"


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test(timeout=30)
async def test_the_history_names_who_moved_the_visit_when_and_why(house):
    case = await house.in_progress()
    await case.act(case.doctor, "terminate", reason="UNSUITABLE", advice="建议线下检查", refund=True)
    visit, order = await case.visit(), await case.order()
    patient, doctor = case.patient.id, case.doctor.id
    assert [tuple(one[name] for name in STEP) for one in visit["history"]] == [
        ("create", patient, "patient", "pending_payment", "pending_payment", None),
        ("submit", "gateway", "system", "pending_payment", "waiting", None),
        ("accept", doctor, "doctor", "waiting", "in_progress", None),
        ("terminate", doctor, "doctor", "in_progress", "terminated", "UNSUITABLE"),
    ]
    assert [one["at"] for one in visit["history"]] == sorted(one["at"] for one in visit["history"])
    assert [(one["act"], one["actor"], one["frm"], one["to"], one["reason"]) for one in order["history"]][:2] == [
        ("pay", "gateway", "pending", "paid", None),
        ("refund", "system", "paid", "refunding", "UNSUITABLE"),
    ]


@pytest.mark.parametrize("act", ["accept", "decline", "refund"])
@pytest.mark.gen_test(timeout=30)
async def test_the_same_act_again_by_the_same_person_answers_the_visit_as_it_stands(house, act):
    case = await house.waiting()
    first = await case.act(case.doctor, act, reason="正在手术")
    again = await case.act(case.doctor, act, reason="正在手术")
    assert again["status"] == first["status"] == rules.MOVES[act].to
    assert again["version"] == first["version"]


@pytest.mark.gen_test(timeout=30)
async def test_ending_again_is_a_repeat_also_after_the_patient_has_rated(house):
    case = await house.completed()
    await ratings.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=5, text="")
    again = await case.act(case.doctor, "complete")
    assert (again["status"], [one["act"] for one in again["history"]].count("complete")) == ("completed", 1)


@pytest.mark.gen_test(timeout=30)
async def test_an_act_repeated_after_a_later_one_is_not_mistaken_for_a_repeat(house):
    case = await house.completed()
    assert await refusal(case, case.doctor, "accept") == "wrong_state"
    assert await refusal(case, case.doctor, "decline", reason="x") == "wrong_state"
    assert await refusal(case, case.patient, "cancel") == "wrong_state"


@pytest.mark.gen_test(timeout=30)
async def test_a_completed_visit_is_given_back_once_and_stays_completed(house):
    case = await house.completed()
    first = await case.act(case.doctor, "refund", reason="误操作")
    again = await case.act(case.doctor, "refund", reason="别的原因")
    completed_again = await case.act(case.doctor, "complete")
    await house.rest()
    visit = await case.visit()
    assert first["status"] == again["status"] == completed_again["status"] == "completed"
    assert [(one["act"], one["reason"]) for one in visit["history"]][-1] == ("refund", "误操作")
    assert [one["act"] for one in visit["history"]].count("refund") == 1
    assert await case.standing() == ("completed", "refunded")
    assert (await house.ledger(case.order_id))["held"] == 0
    assert [one.get("event") for one in await case.said()].count("visit.refund") == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_completed_visit_is_not_given_back_after_a_week(house):
    case = await house.completed()
    week = timedelta(seconds=house.ctx.policy.refund_after_completion_seconds + 1)
    await house.ctx.visits.note(case.id, set={"ended_at": (await case.visit())["ended_at"] - week})
    assert await refusal(case, case.doctor, "refund", reason="太晚") == "wrong_state"


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_and_a_rating_at_the_same_moment_both_hold(house):
    case = await house.completed()
    await asyncio.gather(
        case.act(case.doctor, "refund", reason="误操作"),
        ratings.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=4, text=""),
    )
    await house.rest()
    assert {one["act"] for one in (await case.visit())["history"]} >= {"rate", "refund"}
    assert await case.standing() == ("completed", "refunded")


@pytest.mark.gen_test(timeout=30)
async def test_two_refunds_at_the_same_moment_are_one(house):
    case = await house.completed()
    answers = await asyncio.gather(*(case.act(case.doctor, "refund", reason=f"第{n}次") for n in range(3)))
    assert {one["status"] for one in answers} == {"completed"}
    assert [one["act"] for one in (await case.visit())["history"]].count("refund") == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_that_is_overtaken_by_the_end_of_the_visit_still_gives_the_fee_back(house, monkeypatch):
    case = await house.in_progress()
    move = service.move

    async def be_overtaken(ctx, visit, act, **given):
        monkeypatch.setattr(service, "move", move)
        await move(ctx, visit, "complete", by=case.doctor.actor)
        return await move(ctx, visit, act, **given)

    monkeypatch.setattr(service, "move", be_overtaken)
    refunded = await case.act(case.doctor, "refund", reason="误操作")
    await house.rest()
    assert refunded["status"] == "completed"
    assert await case.standing() == ("completed", "refunded")


@pytest.mark.gen_test(timeout=30)
async def test_a_cancel_that_is_overtaken_by_the_payment_cancels_the_paid_visit(house, monkeypatch):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    move = service.move

    async def be_overtaken(ctx, visit, act, **given):
        monkeypatch.setattr(service, "move", move)
        await case.word()
        return await move(ctx, visit, act, **given)

    monkeypatch.setattr(service, "move", be_overtaken)
    cancelled = await case.act(case.patient, "cancel")
    await house.rest()
    assert [one["frm"] for one in cancelled["history"]] == ["pending_payment", "pending_payment", "waiting"]
    assert await case.standing() == ("cancelled", "refunded")
    assert await house.ledger(case.order_id) == {"paid": 3_000, "refunded": 3_000, "held": 0}


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test(timeout=30)
async def test_a_doctor_whose_licence_has_run_out_does_not_accept_what_is_waiting(house):
    case = await house.waiting()
    doctors = house.ctx.store.db["doctors"]
    await doctors.update_one({"_id": case.doctor.id}, {"$set": {"licence_valid_to": "2020-01-01"}})
    try:
        assert await refusal(case, case.doctor, "accept") == "doctor_unavailable"
        assert (await case.act(case.doctor, "decline", reason="证件到期"))["status"] == "declined"
    finally:
        await doctors.update_one({"_id": case.doctor.id}, {"$set": {"licence_valid_to": "2030-12-31"}})


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_without_a_fee_has_nothing_to_give_back_and_says_nothing_of_money(house):
    case = await house.submitted(house.free_doctor)
    assert await refusal(case, case.doctor, "refund", reason="误操作") == "wrong_state"
    await case.act(case.doctor, "decline", reason="正在手术")
    await house.rest()
    assert [one["text"] for one in await case.said()] == ["咨询已提交，请等待医生接诊", "医生未能接诊"]
    assert (await case.visit())["duties"] == []


@pytest.mark.rule("R5-1")
@pytest.mark.gen_test(timeout=30)
async def test_visit_and_patient_are_kept_for_fifteen_years_from_the_end(house):
    case = await house.completed()
    await house.rest()
    visit = await case.visit()
    until = years_later(visit["ended_at"], 15)
    assert visit["retain_until"] == until
    assert (await house.ctx.patients.get(visit["patient"]["id"]))["retain_until"] >= until


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_advice_is_sealed_in_the_store_and_open_to_the_two(house):
    case = await house.in_progress()
    ended = await case.act(case.doctor, "terminate", reason="EMERGENCY", advice="请立即到急诊科", refund=False)
    assert "急诊" not in repr(await case.visit())
    assert (await views.detail(house.ctx, ended))["advice"] == "请立即到急诊科"


@pytest.mark.gen_test(timeout=30)
async def test_the_order_follows_though_the_gateway_is_away_and_the_chat_does_not_wait_for_it(house):
    case = await house.waiting()
    await house.faults(unavailable_calls=1_000)
    await case.act(case.patient, "cancel")
    assert (await case.visit())["duties"] == []
    assert [one.get("event") for one in await case.said()] == ["visit.submit", "visit.cancel"]
    assert await case.standing() == ("cancelled", "refunding")
    await house.faults(unavailable_calls=0)
    await house.rest()
    assert await case.standing() == ("cancelled", "refunded")


@pytest.mark.gen_test(timeout=30)
async def test_a_process_that_dies_right_after_the_move_leaves_the_rest_to_the_worker(house, monkeypatch):
    case = await house.waiting()

    async def die(collection, id_):
        return None

    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        await case.act(case.patient, "cancel")
    assert [one["kind"] for one in (await case.visit())["duties"]] == [
        "visit.settle_order",
        "visit.retain_patient",
        "visit.announce",
    ]
    assert await case.standing() == ("cancelled", "paid")
    await house.rest()
    assert await case.standing() == ("cancelled", "refunded")
    assert (await case.visit())["duties"] == []


@pytest.mark.gen_test(timeout=30)
async def test_every_event_tells_the_state_that_is_found_by_asking(house, monkeypatch):
    told, publish = [], house.ctx.bus.publish

    async def listen(envelopes):
        for one in envelopes:
            data = one["data"]
            if one["ev"] == "visit.updated":
                told.append((one["ev"], data["status"], (await house.ctx.visits.get(data["visit"]))["status"]))
            elif one["ev"] == "order.updated":
                told.append((one["ev"], data["status"], (await house.ctx.orders.get(data["order"]))["status"]))
        await publish(envelopes)

    monkeypatch.setattr(house.ctx.bus, "publish", listen)
    case = await house.in_progress()
    await case.act(case.doctor, "refund", reason="误操作")
    await house.rest()
    assert all(said == stands for _, said, stands in told)
    assert [said for name, said, _ in told if name == "visit.updated"] == ["waiting", "in_progress", "refunded"]
    assert [said for name, said, _ in told if name == "order.updated"] == ["paid", "refunding", "refunded"]


# --- lists ------------------------------------------------------------------------------------------


async def ids(house, caller, **query):
    return [one["_id"] for one in await service.page_of(house.ctx, caller=caller, **{**EVERYTHING, **query})]


@pytest.mark.feature("D2.2")
@pytest.mark.gen_test(timeout=30)
async def test_a_search_looks_into_the_illness_and_not_into_how_it_is_stored(house):
    condition = {"description": "夜间咳嗽", "duration": "三天", "history": "哮喘", "allergies": "青霉素"}
    case = await house.submitted(condition=condition)
    for words in ("咳嗽", "三天", "哮喘", "青霉素", "演示家"):
        assert await ids(house, case.patient, q=words) == [case.id]
    for stored in ("description", "history", '"', ": "):
        assert await ids(house, case.patient, q=stored) == []


@pytest.mark.gen_test(timeout=30)
async def test_a_search_finds_what_lies_behind_many_others_and_pages_through_it(house):
    patient, patient_id = await house.patient()
    found = []
    for number in range(5):
        illness = "发热" if number % 2 else "咳嗽"
        form = await house.form(patient_id, condition={"description": f"第{number}次{illness}"})
        found.append((await house.submit(patient, form))["_id"])
    first = await ids(house, patient, q="咳嗽", limit=1)
    rest = await ids(house, patient, q="咳嗽", limit=5, cursor=found[4])
    assert (first, rest) == ([found[4], found[2]], [found[2], found[0]])


@pytest.mark.gen_test(timeout=30)
async def test_the_doctor_sees_only_what_was_paid_and_the_patient_everything(house):
    unpaid, paid = await house.submitted(), await house.waiting()
    seen = await ids(house, house.doctor, limit=100)
    assert (unpaid.id in seen, paid.id in seen) == (False, True)
    assert await ids(house, unpaid.patient) == [unpaid.id]
    assert await ids(house, unpaid.patient, status="waiting,expired") == []


@pytest.mark.gen_test(timeout=30)
async def test_a_nurse_reads_the_submitted_visits_of_her_department_and_no_others(house):
    nurse, other = await house.nurse(), await house.nurse("dermatology")
    unpaid, paid = await house.submitted(), await house.waiting()
    seen = await ids(house, nurse, limit=100)
    assert (unpaid.id in seen, paid.id in seen) == (False, True)
    assert await ids(house, other) == []
    assert (await service.require_nursed(house.ctx, nurse, paid.id))["_id"] == paid.id
    for reader, visit in ((nurse, unpaid.id), (other, paid.id), (nurse, "01NONE")):
        with pytest.raises(NotFound):
            await service.require_nursed(house.ctx, reader, visit)


@pytest.mark.feature("D2.1")
@pytest.mark.gen_test(timeout=30)
async def test_the_summary_counts_what_was_submitted_by_where_it_stands(house):
    before = await service.summary(house.ctx, caller=house.doctor)
    await house.submitted()
    await house.waiting()
    await house.in_progress()
    await house.completed()
    after = await service.summary(house.ctx, caller=house.doctor)
    grown = {name: after[name] - before[name] for name in ("waiting", "accepted", "ended", "all")}
    assert grown == {"waiting": 1, "accepted": 1, "ended": 1, "all": 3}
    assert after["online"] is True
    assert await service.summary(house.ctx, caller=caller_of("doctor")) == {
        "waiting": 0,
        "accepted": 0,
        "ended": 0,
        "all": 0,
        "online": False,
    }
