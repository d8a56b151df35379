"""Every way money takes through a visit, with the gateway failing and the worker dying at each step.

The house has no worker: what is owed is run by `House.rest`, as a worker would that came after a kill.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from core.orders import service as orders
from core.ports import BadNotification, Refund, RefundRequest, RefundState, Unavailable
from scripts.acting import until
from storage.moves import first_due
from tests.core.consulting import FEE, QUIET, House, open_house
from tests.people import fresh_key

HELD = {"paid": FEE, "refunded": 0, "held": FEE}
BACK = {"paid": FEE, "refunded": FEE, "held": 0}
NEVER = {"paid": 0, "refunded": 0, "held": 0}
# The gateway answers 503, says nothing and does nothing, or does it and says nothing.
FAULTS = ("unavailable_calls", "hang_calls", "commit_then_hang_calls")


@pytest.fixture(scope="module")
def _money(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[House]:
    opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("money"), "money")
    house = io_loop.run_sync(opened.__aenter__, timeout=60)
    # A gateway that says nothing is waited for half a second here, not eight.
    house.ctx.payment._config = replace(house.ctx.payment._config, timeout=0.5)
    yield house
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def house(_money, io_loop) -> Iterator[House]:
    yield _money
    io_loop.run_sync(lambda: _money.faults(**QUIET))


@pytest.fixture
def killed(house, monkeypatch):
    """The process that moves something dies before it does anything of what the move owes."""

    async def nothing(collection: str, document_id: str) -> None:
        return None

    monkeypatch.setattr(house.ctx.duties, "run_now", nothing)
    monkeypatch.setattr(house.ctx.duties, "kick", lambda collection, document_id: None)


async def refund_by_rest(case, who=None, *, key: str | None = None, reason: str = "患者误操作"):
    """POST /visits/{id}/refund."""
    person = case.house.person(who or case.doctor)
    return await person.send("POST", f"/visits/{case.id}/refund", json={"reason": reason}, key=key or fresh_key())


async def at_rest(case, standing, money) -> None:
    """Where all ends, the gateway's money, at most one refund there, and nothing owed."""
    await case.house.rest()
    visit, order = await case.visit(), await case.order()
    assert (visit["status"], order["status"]) == standing
    assert await case.house.ledger(case.order_id) == money
    assert (visit["duties"], order["duties"]) == ([], [])
    assert len(await refunds_of(case)) == (1 if order["status"] == "refunded" else 0)
    assert [step["act"] for step in order["history"]].count("refunded") == (order["status"] == "refunded")


async def refunds_of(case) -> list:
    """The refunds of the order as the gateway has them."""
    every = (await case.house.http.get(f"{case.house.gateway}/_control/orders")).json()
    return [refund for one in every if one["out_trade_no"] == case.order_id for refund in one["refunds"]]


# --- the doctor gives back (P1.10)


@pytest.mark.feature("P1.10")
@pytest.mark.parametrize("begun", ["waiting", "in_progress", "completed"])
@pytest.mark.gen_test(timeout=60)
async def test_the_doctor_refunds_with_a_reason_the_patient_reads_and_the_money_is_back(house, begun):
    case = await getattr(house, begun)()
    answer = await refund_by_rest(case)
    assert answer.status_code == 200, answer.text
    await at_rest(case, ("completed" if begun == "completed" else "refunded", "refunded"), BACK)
    patient = house.person(case.patient)
    visit, order = await patient.get(f"/visits/{case.id}"), await patient.get(f"/orders/{case.order_id}")
    assert (visit["reason"], order["refund"]["reason"], order["refund"]["amount"]) == ("患者误操作", "患者误操作", FEE)
    assert (visit["order"]["status"], order["refund"]["state"]) == ("refunded", "SUCCESS")
    assert [(step["role"], step["reason"]) for step in visit["history"] if step["act"] == "refund"] == [
        ("doctor", "患者误操作")
    ]
    assert "医生已退还本次费用，款项将原路退回" in [said.get("text") for said in await case.said()]


@pytest.mark.feature("P1.10")
@pytest.mark.gen_test(timeout=60)
async def test_a_completed_visit_is_refundable_for_seven_days_and_not_longer(house):
    for age, status, ended in (
        (timedelta(days=7, minutes=-1), 200, ("refunded", BACK)),
        (timedelta(days=7, seconds=1), 409, ("paid", HELD)),
    ):
        case = await house.completed()
        await house.ctx.visits.note(case.id, set={"ended_at": house.ctx.clock.now() - age})
        answer = await refund_by_rest(case)
        assert answer.status_code == status
        await at_rest(case, ("completed", ended[0]), ended[1])


@pytest.mark.feature("P1.10")
@pytest.mark.gen_test(timeout=60)
async def test_nobody_but_the_visits_doctor_refunds(house):
    case = await house.in_progress()
    before = await case.order()
    other = await refund_by_rest(case, house.other_doctor)
    patient = await refund_by_rest(case, case.patient)
    keyless = await house.person(case.doctor).send("POST", f"/visits/{case.id}/refund", json={"reason": "误操作"})
    mute = await refund_by_rest(case, reason=" ")
    assert [answer.status_code for answer in (other, patient, keyless, mute)] == [404, 403, 422, 422]
    assert (await case.order(), await house.ledger(case.order_id)) == (before, HELD)
    await at_rest(case, ("in_progress", "paid"), HELD)


@pytest.mark.feature("P1.10")
@pytest.mark.parametrize("begun", ["in_progress", "completed"])
@pytest.mark.gen_test(timeout=60)
async def test_a_refund_asked_for_twice_is_given_once(house, begun):
    case = await getattr(house, begun)()
    key = fresh_key()
    first, again = await refund_by_rest(case, key=key), await refund_by_rest(case, key=key)
    other = await refund_by_rest(case, reason="再退一次")
    assert (first.json(), again.headers.get("Idempotent-Replay")) == (again.json(), "true")
    assert (other.status_code, other.json()["reason"]) == (200, "患者误操作")
    await at_rest(case, (other.json()["status"], "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_other_ends_of_a_visit_give_the_money_back_or_keep_it(house):
    for begun, act, given, ended in (
        ("waiting", "cancel", {}, ("cancelled", "refunded")),
        ("waiting", "decline", {"reason": "不在擅长范围"}, ("declined", "refunded")),
        ("in_progress", "complete", {}, ("completed", "paid")),
        (
            "in_progress",
            "terminate",
            {"reason": "UNSUITABLE", "advice": "请到医院", "refund": True},
            ("terminated", "refunded"),
        ),
        (
            "in_progress",
            "terminate",
            {"reason": "EMERGENCY", "advice": "请拨打120", "refund": False},
            ("terminated", "paid"),
        ),
        (
            "in_progress",
            "terminate",
            {"reason": "JUDGED_FIRST_VISIT", "advice": "请到医院", "refund": False},
            ("terminated", "refunded"),
        ),
    ):
        case = await getattr(house, begun)()
        await case.act(case.patient if act == "cancel" else case.doctor, act, **given)
        await at_rest(case, ended, BACK if ended[1] == "refunded" else HELD)


# --- the gateway fails


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=60)
async def test_a_payment_whose_opening_failed_is_opened_again(house, fault):
    case = await house.submitted()
    await house.faults(**{fault: 1})
    with pytest.raises(Unavailable):
        await case.open_payment()
    await case.open_payment()
    assert await house.pay(case.order_id)
    await case.word()
    await at_rest(case, ("waiting", "paid"), HELD)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=60)
async def test_a_cancelled_order_is_closed_at_the_gateway_however_it_fails(house, fault):
    case = await house.submitted()
    await case.open_payment()
    await house.faults(**{fault: 1})
    await case.act(case.patient, "cancel")
    await at_rest(case, ("cancelled", "closed"), NEVER)
    assert await house.pay(case.order_id) is False


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=60)
async def test_a_refund_is_made_once_however_the_gateway_fails(house, fault):
    case = await house.in_progress()
    await house.faults(**{fault: 1})
    assert (await refund_by_rest(case)).status_code == 200
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_a_gateway_that_fails_between_the_question_and_the_refund_is_asked_both_again(house, monkeypatch):
    case = await house.waiting()
    refund, failures = house.ctx.payment.refund, [Unavailable("503"), Unavailable("503")]

    async def fail_twice(request):
        if failures:
            raise failures.pop()
        return await refund(request)

    monkeypatch.setattr(house.ctx.payment, "refund", fail_twice)
    await case.act(case.patient, "cancel")
    await at_rest(case, ("cancelled", "refunded"), BACK)
    assert failures == []


@pytest.mark.gen_test(timeout=60)
async def test_a_gateway_that_is_down_for_long_has_the_refund_asked_for_when_it_is_back(house):
    case = await house.waiting()
    await house.faults(unavailable_calls=4)
    await case.act(case.patient, "cancel")
    await at_rest(case, ("cancelled", "refunded"), BACK)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=60)
async def test_a_question_that_was_not_answered_is_asked_again(house, fault):
    case = await house.submitted()
    await case.open_payment()
    assert await house.pay(case.order_id)
    await house.faults(**{fault: 1})
    await house.pass_deadline("orders", case.order_id)
    assert await case.standing() == ("pending_payment", "pending")
    await house.pass_deadline("orders", case.order_id)
    await at_rest(case, ("waiting", "paid"), HELD)


@pytest.mark.gen_test(timeout=60)
async def test_a_visit_that_expired_while_the_gateway_was_down_gives_late_money_back(house):
    case = await house.submitted()
    await case.open_payment()
    assert await house.pay(case.order_id)
    await house.faults(unavailable_calls=2)
    await house.pass_deadline("visits", case.id)
    assert (await case.visit())["status"] == "expired"
    await at_rest(case, ("expired", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_an_unanswered_visit_gives_its_money_back(house):
    case = await house.waiting()
    await house.faults(unavailable_calls=1)
    await house.pass_deadline("visits", case.id)
    await at_rest(case, ("declined", "refunded"), BACK)


# --- the worker dies


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_submission_and_its_order(house, killed):
    caller, patient_id = await house.patient()
    form = await house.form(patient_id)
    with pytest.raises(Exception, match="in_progress"):
        await house.submit(caller, form, "r1")
    visit = await house.ctx.visits.by_request(caller.id, "r1")
    assert await house.ctx.orders.get(visit["order_id"]) is None
    await house.rest()
    order = await house.ctx.orders.get(visit["order_id"])
    assert (order["status"], order["amount"], (await house.ctx.visits.get(visit["_id"]))["duties"]) == (
        "pending",
        FEE,
        [],
    )


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_payment_and_the_submission_of_its_visit(house, request):
    case = await house.submitted()
    await case.open_payment()
    assert await house.pay(case.order_id)
    request.getfixturevalue("killed")
    await case.word()
    assert await case.standing() == ("pending_payment", "paid")
    await at_rest(case, ("waiting", "paid"), HELD)


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_a_payment_and_a_cancel_that_came_before_the_visit_heard_of_it(house, request):
    case = await house.submitted()
    await case.open_payment()
    assert await house.pay(case.order_id)
    request.getfixturevalue("killed")
    await case.word()
    await case.act(case.patient, "cancel")
    assert await case.standing() == ("cancelled", "paid")
    await at_rest(case, ("cancelled", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_visits_end_and_its_order(house, request):
    case = await house.in_progress()
    request.getfixturevalue("killed")
    await case.act(case.doctor, "refund", reason="误操作")
    assert await case.standing() == ("refunded", "paid")
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_refunds_beginning_and_the_gateway(house, request):
    case = await house.waiting()
    request.getfixturevalue("killed")
    await orders.settle(house.ctx, case.order_id, by=case.doctor.actor, reason="误操作")
    assert ((await case.order())["status"], await refunds_of(case)) == ("refunding", [])
    await case.act(case.doctor, "refund", reason="误操作")
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_gateways_refund_and_our_note_of_it(house, request):
    case = await house.waiting()
    request.getfixturevalue("killed")
    await case.act(case.doctor, "refund", reason="误操作")
    await orders.settle(house.ctx, case.order_id, by=case.doctor.actor, reason="误操作")
    refund = (await case.order())["refund"]
    asked = RefundRequest(case.order_id, refund["out_refund_no"], FEE, FEE, "退款")
    await house.ctx.payment.refund(asked)
    assert (await case.order())["refund"]["state"] is None
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_killed_with_the_lease_in_its_hand(house, request):
    case = await house.waiting()
    request.getfixturevalue("killed")
    await orders.settle(house.ctx, case.order_id, by=case.doctor.actor, reason="误操作")
    await case.act(case.doctor, "refund", reason="误操作")
    now = house.ctx.clock.now()
    duty = first_due(await case.order(), now)
    held = await house.ctx.orders.lease(
        case.order_id, duty["key"], seen_next_at=duty["next_at"], token="dead", until=now + timedelta(seconds=60)
    )
    await house.ctx.duties.run_due()
    assert (held, (await case.order())["status"]) == (True, "refunding")
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_killed_between_the_closing_and_the_gateway(house, request):
    case = await house.submitted()
    await case.open_payment()
    request.getfixturevalue("killed")
    await orders.settle(house.ctx, case.order_id, by=case.patient.actor, reason="cancelled")
    assert await house.pay(case.order_id)  # nobody has told the gateway yet
    await case.act(case.patient, "cancel")
    await at_rest(case, ("cancelled", "refunded"), BACK)


# --- notifications


@pytest.mark.gen_test(timeout=60)
async def test_notifications_that_come_three_times_count_once(house):
    case = await house.submitted()
    await case.open_payment()
    await house.faults(drop_notifications=False, notify_duplicates=2)
    assert await house.pay(case.order_id)
    await becomes(case, ("waiting", "paid"))
    await case.act(case.doctor, "refund", reason="误操作")
    await becomes(case, ("refunded", "refunded"))
    await delivered(house, case)
    await at_rest(case, ("refunded", "refunded"), BACK)
    assert [step["act"] for step in (await case.visit())["history"]] == ["create", "submit", "refund"]


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_told_before_our_own_call_returned_is_not_made_again(house):
    case = await house.waiting()
    await house.faults(drop_notifications=False, commit_then_hang_calls=1)
    await case.act(case.doctor, "refund", reason="误操作")
    await becomes(case, ("refunded", "refunded"))
    await delivered(house, case)
    await at_rest(case, ("refunded", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_a_payment_told_after_its_order_was_closed_goes_back(house, request):
    case = await house.submitted()
    await case.open_payment()
    await house.faults(drop_notifications=False, notify_delay=1.0)
    assert await house.pay(case.order_id)
    request.getfixturevalue("killed")
    await case.act(case.patient, "cancel")
    await orders.settle(house.ctx, case.order_id, by=case.patient.actor, reason="cancelled")
    assert await case.standing() == ("cancelled", "closed")
    await delivered(house, case)
    assert await case.standing() == ("cancelled", "refunding")
    await at_rest(case, ("cancelled", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_a_payment_told_after_its_refund_changes_nothing(house):
    case = await house.waiting()
    told = await house.ctx.payment.query(case.order_id)
    await case.act(case.doctor, "refund", reason="误操作")
    await at_rest(case, ("refunded", "refunded"), BACK)
    before = await case.order()
    await orders.record_payment(house.ctx, told)
    await orders.record_payment(house.ctx, await house.ctx.payment.query(case.order_id))
    assert await case.order() == before


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_nobody_asked_for_changes_nothing(house):
    case = await house.waiting()
    before = await case.order()
    now = house.ctx.clock.now()
    for number, amount in ((f"{case.order_id}-R", FEE), ("another", FEE)):
        with pytest.raises(BadNotification):
            await orders.record_refund(
                house.ctx, Refund(number, case.order_id, "5030", RefundState.SUCCESS, amount, now)
            )
    assert await case.order() == before


# --- how a refund ends


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_in_process_is_followed_until_it_has_arrived(house):
    case = await house.waiting()
    await house.faults(hold_refunds=True)
    await case.act(case.patient, "cancel")
    await house.rest()
    order = await case.order()
    assert (order["status"], order["refund"]["state"]) == ("refunding", "PROCESSING")
    assert [(one["state"], one["attempts"]) for one in order["duties"]] == [("due", 0)]
    assert await house.ledger(case.order_id) == HELD
    assert await house.settle_refund(case.order_id, "SUCCESS")
    await at_rest(case, ("cancelled", "refunded"), BACK)


@pytest.mark.gen_test(timeout=60)
async def test_an_abnormal_refund_waits_for_a_person_and_ends_by_the_gateways_word(house):
    case = await house.waiting()
    await house.faults(hold_refunds=True)
    await case.act(case.patient, "cancel")
    await house.rest()
    assert await house.settle_refund(case.order_id, "ABNORMAL")
    await house.rest()
    order = await case.order()
    assert (order["status"], order["refund"]["state"]) == ("refunding", "ABNORMAL")
    assert [one["state"] for one in order["duties"]] == ["dead"]
    # The cashier settles it on the merchant's own pages; the gateway tells us.
    await house.faults(drop_notifications=False, hold_refunds=False)
    await house.ctx.payment.refund_to_merchant(order["refund"]["refund_id"], order["refund"]["out_refund_no"])
    await becomes(case, ("cancelled", "refunded"))
    await delivered(house, case)
    await at_rest(case, ("cancelled", "refunded"), BACK)


async def becomes(case, standing) -> None:
    """Wait for it; the house's duties are run meanwhile, as by a worker."""

    async def stands() -> bool:
        await case.house.ctx.duties.run_due()
        return await case.standing() == standing

    await until(stands)


async def delivered(house, case) -> None:
    """Until the gateway has told all it had to tell of this order."""

    async def told() -> bool:
        every = (await house.http.get(f"{house.gateway}/_control/notifications")).json()
        return all(one["state"] != "pending" for one in every if one["subject"].startswith(case.order_id))

    await until(told)
