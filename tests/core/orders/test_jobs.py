from datetime import timedelta

import pytest

from core.orders import jobs, rules
from core.outbox import Later
from core.ports import Refund, RefundState, Rejected, Unavailable
from tests.core.consulting import under_way


@pytest.fixture
def asked(house, monkeypatch):
    """What the gateway is asked from here on about an order: `asked(case)`, by name."""
    calls = []
    for name in ("prepay", "query", "close", "refund", "query_refund"):
        real = getattr(house.ctx.payment, name)

        def listen(request, name=name, real=real):
            calls.append((name, request if isinstance(request, str) else request.out_trade_no))
            return real(request)

        monkeypatch.setattr(house.ctx.payment, name, listen)
    return lambda case: [name for name, number in calls if number.startswith(case.order_id)]


@pytest.mark.gen_test(timeout=30)
async def test_the_order_of_a_visit_is_opened_once_under_the_number_the_visit_carries(house):
    case = await house.submitted()
    first = await case.order()
    await jobs.open_for_visit(house.ctx, {**await case.visit(), "fee": 9_999})
    assert await case.order() == first
    assert (first["_id"], first["amount"], first["kind"]) == (case.order_id, 3_000, "visit_fee")
    assert (first["account_id"], first["doctor_id"]) == (case.patient.id, case.doctor.id)


@pytest.mark.gen_test(timeout=30)
async def test_a_free_visit_has_no_order_to_open_or_settle(house):
    case = await house.submitted(house.free_doctor)
    visit = await case.visit()
    await jobs.open_for_visit(house.ctx, visit)
    await jobs.settle_for_visit(house.ctx, visit)
    assert await house.ctx.orders.page(case.patient.id, before=None, limit=5) == []


@pytest.mark.gen_test(timeout=30)
async def test_an_order_the_gateway_never_heard_of_is_closed_without_asking_it(house, asked):
    case = await house.submitted()
    await case.act(case.patient, "cancel")
    await house.rest()
    assert (await case.standing(), asked(case)) == (("cancelled", "closed"), [])


@pytest.mark.gen_test(timeout=30)
async def test_an_opened_payment_is_closed_at_the_gateway_and_can_then_not_be_made(house, asked):
    case = await house.submitted()
    await case.open_payment()
    await case.act(case.patient, "cancel")
    await house.rest()
    assert asked(case) == ["prepay", "close"]
    assert await house.pay(case.order_id) is False


@pytest.mark.gen_test(timeout=30)
async def test_who_paid_before_the_closing_gets_it_back_though_nobody_told_us(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    await case.act(case.patient, "cancel")
    await house.rest()
    assert await case.standing() == ("cancelled", "refunded")
    assert await house.ledger(case.order_id) == {"paid": 3_000, "refunded": 3_000, "held": 0}


@pytest.mark.gen_test(timeout=30)
async def test_a_gateway_that_says_paid_and_not_by_what_is_asked_again(house, monkeypatch):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)

    async def see_nothing(number):
        return None

    with monkeypatch.context() as blind:
        blind.setattr(house.ctx.payment, "query", see_nothing)
        await case.act(case.patient, "cancel")
        await under_way()
        (owed,) = (await case.order())["duties"]
    assert (owed["kind"], owed["state"], owed["error"]) == ("order.close", "due", "Unavailable")
    await house.rest()
    assert await case.standing() == ("cancelled", "refunded")


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=30)
async def test_a_payment_nobody_notified_is_found_on_the_gateways_schedule(house):
    case = await house.submitted()
    await case.open_payment()
    opened_at = (await case.order())["payment_requested_at"]
    await house.pass_deadline("orders", case.order_id)
    assert (await case.order())["deadline_at"] - opened_at == timedelta(seconds=rules.QUERY_AFTER[0])
    earlier = opened_at - timedelta(seconds=rules.QUERY_AFTER[0])
    await house.ctx.orders.note(case.order_id, set={"payment_requested_at": earlier})
    await house.pass_deadline("orders", case.order_id)
    assert (await case.order())["deadline_at"] - earlier == timedelta(seconds=rules.QUERY_AFTER[1])
    await house.pay(case.order_id)
    await house.pass_deadline("orders", case.order_id)
    await house.rest()
    assert await case.standing() == ("waiting", "paid")
    assert (await case.order())["deadline_at"] is None


@pytest.mark.gen_test(timeout=30)
async def test_a_question_the_gateway_does_not_answer_is_put_off(house):
    case = await house.submitted()
    await case.open_payment()
    await house.faults(unavailable_calls=1)
    await house.pass_deadline("orders", case.order_id)
    order = await case.order()
    assert order["status"] == "pending"
    assert order["deadline_at"] > house.ctx.clock.now()


@pytest.mark.parametrize("status", ["paid", "closed", "refunded"])
@pytest.mark.gen_test(timeout=30)
async def test_nothing_is_asked_about_an_order_that_is_no_longer_pending(house, asked, status):
    case = await house.submitted()
    await case.open_payment()
    await jobs.query_payment(house.ctx, {**await case.order(), "status": status})
    assert asked(case) == ["prepay"]


@pytest.mark.gen_test(timeout=30)
async def test_what_a_paid_order_owes_does_not_wait_behind_a_question(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    said = await house.ctx.payment.query(case.order_id)
    await house.faults(unavailable_calls=1_000)
    await house.pass_deadline("orders", case.order_id)
    assert (await case.order())["duties"] == []
    await jobs.service.record_payment(house.ctx, said)
    assert await case.standing() == ("waiting", "paid")


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_is_asked_for_once_under_one_number_though_the_answers_get_lost(house, monkeypatch):
    case = await house.waiting()
    real, asked = house.ctx.payment.refund, []

    async def lose_the_answer(request):
        asked.append((request.out_refund_no, request.amount, request.total, request.reason))
        await real(request)
        raise Unavailable("lost")

    with monkeypatch.context() as losing:
        losing.setattr(house.ctx.payment, "refund", lose_the_answer)
        await case.act(case.patient, "cancel")
        await under_way()
        assert await case.standing() == ("cancelled", "refunding")
    await house.rest()
    assert asked == [(f"{case.order_id}-R", 3_000, 3_000, "互联网医院咨询费退款")]
    assert await case.standing() == ("cancelled", "refunded")
    assert await house.ledger(case.order_id) == {"paid": 3_000, "refunded": 3_000, "held": 0}


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_the_doctors_words_stay_with_the_order_and_are_not_told_to_the_gateway(house, monkeypatch):
    case = await house.waiting()
    real, told = house.ctx.payment.refund, []

    def listen(request):
        told.append(request.reason)
        return real(request)

    monkeypatch.setattr(house.ctx.payment, "refund", listen)
    await case.act(case.doctor, "decline", reason="病情需要住院")
    await house.rest()
    assert told == ["互联网医院咨询费退款"]
    assert (await case.order())["refund"]["reason"] == "病情需要住院"


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_in_process_is_looked_at_again_later_and_counts_no_failure(house):
    await house.faults(hold_refunds=True)
    case = await house.waiting()
    await case.act(case.patient, "cancel")
    await under_way()
    (owed,) = (await case.order())["duties"]
    assert (owed["kind"], owed["attempts"], owed["state"]) == ("order.refund", 0, "due")
    assert owed["next_at"] - house.ctx.clock.now() > timedelta(seconds=50)
    with pytest.raises(Later):
        await jobs.refund(house.ctx, await case.order())
    await house.settle_refund(case.order_id, "SUCCESS")
    await house.rest()
    assert await case.standing() == ("cancelled", "refunded")
    assert (await case.order())["duties"] == []


@pytest.mark.gen_test(timeout=30)
async def test_an_abnormal_refund_leaves_its_duty_dead_for_a_person_and_the_order_refunding(house):
    await house.faults(abnormal_refunds=True, hold_refunds=True)
    case = await house.waiting()
    await case.act(case.patient, "cancel")
    await under_way()
    await house.settle_refund(case.order_id, "ABNORMAL")
    await house.rest()
    order = await case.order()
    (owed,) = order["duties"]
    assert (owed["kind"], owed["state"], owed["next_at"], owed["error"]) == (
        "order.refund",
        "dead",
        None,
        "rejected ABNORMAL",
    )
    assert (order["status"], order["refund"]["state"]) == ("refunding", "ABNORMAL")
    assert (await house.ledger(case.order_id))["held"] == 3_000
    await house.rest()
    assert (await case.order())["duties"] == [owed]
    with pytest.raises(Rejected):
        await jobs.refund(house.ctx, order)


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_that_a_person_has_mended_is_taken_note_of(house):
    await house.faults(abnormal_refunds=True, hold_refunds=True)
    case = await house.waiting()
    await case.act(case.patient, "cancel")
    await under_way()
    await house.settle_refund(case.order_id, "ABNORMAL")
    await house.rest()
    order = await case.order()
    assert [one["state"] for one in order["duties"]] == ["dead"]
    arrived = Refund(order["refund"]["out_refund_no"], case.order_id, "5030", RefundState.SUCCESS, 3_000, None)
    await jobs.service.record_refund(house.ctx, arrived)
    assert await case.standing() == ("cancelled", "refunded")
    await house.rest()
    assert (await case.order())["duties"] == []
