import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from core.auth import SYSTEM
from core.errors import Conflict, Invalid, NotFound, WrongState
from core.orders import service
from core.ports import BadNotification, Refund, RefundState, TradeState, Transaction
from tests.core.partial import caller_of


def word(case, **changes):
    """The gateway's word that this order was paid."""
    said = Transaction(
        out_trade_no=case.order_id,
        transaction_id="4200000001",
        state=TradeState.SUCCESS,
        amount=3_000,
        payer_openid="o-1",
        succeeded_at=case.house.ctx.clock.now(),
    )
    return replace(said, **changes)


def refund_word(case, state, **changes):
    """The gateway's word on the refund of this order."""
    now = case.house.ctx.clock.now()
    said = Refund(f"{case.order_id}-R", case.order_id, "5030000001", state, 3_000, now)
    return replace(said, **changes)


async def refunding(house):
    """A cancelled visit whose refund the gateway has not ended."""
    await house.faults(hold_refunds=True)
    case = await house.waiting()
    await case.act(case.patient, "cancel")
    await house.rest()
    assert await case.standing() == ("cancelled", "refunding")
    return case


# --- paying -----------------------------------------------------------------------------------------


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=30)
async def test_opening_a_payment_changes_no_state_and_sets_the_first_question(house):
    case = await house.submitted()
    parameters = await case.open_payment()
    order = await case.order()
    assert parameters["package"].startswith("prepay_id=")
    assert (order["status"], order["paid_at"], order["history"]) == ("pending", None, [])
    assert order["deadline_at"] - order["payment_requested_at"] == timedelta(seconds=5)


@pytest.mark.gen_test(timeout=30)
async def test_only_the_payer_finds_the_order(house):
    case = await house.submitted()
    for stranger in (caller_of("patient"), case.doctor):
        with pytest.raises(NotFound):
            await service.pay(house.ctx, caller=stranger, order_id=case.order_id, login_code=None)
        with pytest.raises(NotFound):
            await service.require_own(house.ctx, stranger, case.order_id)
    with pytest.raises(NotFound):
        await service.require_own(house.ctx, case.patient, "01NOORDER")


@pytest.mark.parametrize("status", ["paid", "refunding", "refunded", "closed"])
@pytest.mark.gen_test(timeout=30)
async def test_only_a_pending_order_is_opened_for_payment(house, status):
    case = await house.submitted()
    await house.ctx.orders.note(case.order_id, set={"status": status})
    with pytest.raises(WrongState):
        await case.open_payment()
    assert await house.ctx.payment.query(case.order_id) is None


@pytest.mark.gen_test(timeout=30)
async def test_a_false_login_code_names_its_field_and_asks_nothing_of_the_gateway(house):
    case = await house.submitted()
    with pytest.raises(Invalid) as refused:
        await service.pay(house.ctx, caller=case.patient, order_id=case.order_id, login_code="false")
    assert list(refused.value.errors) == ["login_code"]
    assert (await case.order())["payment_requested_at"] is None


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=30)
async def test_who_has_paid_already_is_told_so_and_the_order_follows_at_once(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    with pytest.raises(Conflict) as refused:
        await case.open_payment()
    assert refused.value.code == "already_paid"
    assert await case.standing() == ("waiting", "paid")


@pytest.mark.gen_test(timeout=30)
async def test_an_order_closed_while_its_payment_is_opened_cannot_be_paid_at_the_gateway(house, monkeypatch):
    case = await house.submitted()
    prepay = house.ctx.payment.prepay

    async def be_overtaken(request):
        await case.act(case.patient, "cancel")
        await house.rest()  # the closing is over before the gateway hears of the payment
        return await prepay(request)

    monkeypatch.setattr(house.ctx.payment, "prepay", be_overtaken)
    with pytest.raises(WrongState):
        await case.open_payment()
    assert await house.pay(case.order_id) is False
    assert await case.standing() == ("cancelled", "closed")


@pytest.mark.gen_test(timeout=30)
async def test_an_order_closed_just_before_the_gateway_is_asked_is_not_opened_there(house, monkeypatch):
    case = await house.submitted()
    note = house.ctx.orders.note

    async def be_overtaken(*given, **named):
        monkeypatch.setattr(house.ctx.orders, "note", note)
        await case.act(case.patient, "cancel")
        return await note(*given, **named)

    monkeypatch.setattr(house.ctx.orders, "note", be_overtaken)
    with pytest.raises(WrongState):
        await case.open_payment()
    assert await house.ctx.payment.query(case.order_id) is None
    assert (await case.order())["payment_requested_at"] is None


@pytest.mark.gen_test(timeout=30)
async def test_an_order_paid_while_its_payment_is_opened_again_is_told_as_paid(house, monkeypatch):
    case = await house.submitted()
    await case.open_payment()
    prepay = house.ctx.payment.prepay

    async def be_overtaken(request):
        answered = await prepay(request)
        await house.pay(case.order_id)
        await case.word()
        return answered

    monkeypatch.setattr(house.ctx.payment, "prepay", be_overtaken)
    with pytest.raises(Conflict) as refused:
        await case.open_payment()
    assert refused.value.code == "already_paid"
    assert await case.standing() == ("waiting", "paid")


# --- the gateway's word -----------------------------------------------------------------------------


@pytest.mark.feature("X1.2")
@pytest.mark.parametrize("changes", [{"amount": 2_999}, {"amount": 0}, {"out_trade_no": "01NOBODYSORDER"}])
@pytest.mark.gen_test(timeout=30)
async def test_a_word_about_another_amount_or_order_changes_nothing(house, changes):
    case = await house.submitted()
    before = await case.order()
    with pytest.raises(BadNotification):
        await service.record_payment(house.ctx, word(case, **changes))
    assert await case.order() == before


@pytest.mark.parametrize("state", sorted(set(TradeState) - {TradeState.SUCCESS, TradeState.REFUND}))
@pytest.mark.gen_test(timeout=30)
async def test_a_payment_that_has_not_succeeded_pays_nothing(house, state):
    case = await house.submitted()
    before = await case.order()
    await service.record_payment(house.ctx, word(case, state=state))
    assert await case.order() == before


@pytest.mark.feature("P1.6")
@pytest.mark.gen_test(timeout=30)
async def test_the_first_word_counts_and_repeats_change_nothing(house):
    case = await house.submitted()
    await service.record_payment(house.ctx, word(case))
    first = await case.order()
    await asyncio.gather(*(service.record_payment(house.ctx, word(case, transaction_id=f"42{n}")) for n in range(3)))
    assert await case.order() == first
    assert (first["status"], first["transaction_id"], first["deadline_at"]) == ("paid", "4200000001", None)
    assert [one["act"] for one in first["history"]] == ["pay"]


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=30)
async def test_a_late_payment_of_a_closed_order_is_given_back_once(house):
    case = await house.submitted()
    await case.open_payment()
    await house.faults(unavailable_calls=1_000)
    await case.act(case.patient, "cancel")
    assert await case.standing() == ("cancelled", "closed")
    await house.pay(case.order_id)
    await house.faults(unavailable_calls=0)
    said = await case.word()
    await service.record_payment(house.ctx, said)
    await house.rest()
    order = await case.order()
    assert await case.standing() == ("cancelled", "refunded")
    assert [one["act"] for one in order["history"]] == ["close", "refund", "refunded"]
    assert (order["refund"]["reason"], order["paid_at"] is not None) == ("late_payment", True)
    assert await house.ledger(case.order_id) == {"paid": 3_000, "refunded": 3_000, "held": 0}
    assert order["duties"] == []


@pytest.mark.gen_test(timeout=30)
async def test_settling_closes_what_is_unpaid_gives_back_what_is_paid_and_repeats_change_nothing(house):
    unpaid, paid = await house.submitted(), await house.waiting()
    for case in (unpaid, paid):
        for _ in range(2):
            await service.settle(house.ctx, case.order_id, by=SYSTEM, reason="visit_ended")
        await house.rest()
        await service.settle(house.ctx, case.order_id, by=SYSTEM, reason="again")
    await service.settle(house.ctx, "01NOORDER", by=SYSTEM, reason="nothing to settle")
    assert [one["act"] for one in (await unpaid.order())["history"]] == ["close"]
    assert [one["act"] for one in (await paid.order())["history"]] == ["pay", "refund", "refunded"]
    assert (await paid.order())["refund"]["reason"] == "visit_ended"


@pytest.mark.gen_test(timeout=30)
async def test_a_settlement_that_races_with_the_payment_leaves_no_money_behind(house):
    for _ in range(4):
        case = await house.submitted()
        await case.open_payment()
        await house.pay(case.order_id)
        await asyncio.gather(
            service.settle(house.ctx, case.order_id, by=SYSTEM, reason="visit_ended"),
            service.record_payment(house.ctx, word(case)),
            service.settle(house.ctx, case.order_id, by=SYSTEM, reason="visit_ended"),
        )
        await house.rest()
        order = await case.order()
        if order["status"] == "paid":  # both settlements came before the money: it is the visit's then
            assert (await case.visit())["status"] == "waiting"
            continue
        assert (order["status"], order["duties"]) == ("refunded", [])
        assert (await house.ledger(case.order_id))["held"] == 0


# --- refunds ----------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_in_process_ends_with_the_gateways_word_and_its_duty_goes(house):
    case = await refunding(house)
    order = await case.order()
    assert (order["refund"]["state"], [one["kind"] for one in order["duties"]]) == ("PROCESSING", ["order.refund"])
    await service.record_refund(house.ctx, refund_word(case, RefundState.SUCCESS))
    assert await case.standing() == ("cancelled", "refunded")
    await house.settle_refund(case.order_id, "SUCCESS")
    await house.rest()
    order = await case.order()
    assert (order["duties"], order["refund"]["state"]) == ([], "SUCCESS")
    assert [one["act"] for one in order["history"]] == ["pay", "refund", "refunded"]


@pytest.mark.parametrize("late", [RefundState.PROCESSING, RefundState.ABNORMAL, RefundState.SUCCESS])
@pytest.mark.gen_test(timeout=30)
async def test_a_late_word_does_not_reopen_a_refund_that_has_arrived(house, late):
    case = await house.waiting()
    await case.act(case.patient, "cancel")
    await house.rest()
    before = await case.order()
    await service.record_refund(house.ctx, refund_word(case, late))
    assert await case.order() == before
    assert before["status"] == "refunded"


@pytest.mark.parametrize("changes", [{"amount": 1}, {"out_refund_no": "01OTHER-R"}, {"out_trade_no": "01NOORDER"}])
@pytest.mark.gen_test(timeout=30)
async def test_a_refund_of_another_number_or_amount_changes_nothing(house, changes):
    case = await refunding(house)
    before = await case.order()
    with pytest.raises(BadNotification):
        await service.record_refund(house.ctx, refund_word(case, RefundState.SUCCESS, **changes))
    assert await case.order() == before


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_nobody_asked_for_is_not_ours(house):
    case = await house.waiting()
    with pytest.raises(BadNotification):
        await service.record_refund(house.ctx, refund_word(case, RefundState.SUCCESS))
    assert await case.standing() == ("waiting", "paid")


# --- one's own --------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=30)
async def test_ones_orders_newest_first_by_status_and_page_by_page(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)
    made = [(await house.submit(patient, form))["order_id"] for _ in range(3)]
    await service.settle(house.ctx, made[1], by=SYSTEM, reason="visit_ended")

    async def ids(**query):
        given = {"limit": 10, "cursor": None, "status": None, **query}
        return [one["_id"] for one in await service.list_own(house.ctx, caller=patient, **given)]

    assert await ids() == made[::-1]
    assert await ids(status="closed") == [made[1]]
    assert await ids(limit=1) == made[:0:-1]
    assert await ids(cursor=made[1]) == [made[0]]
    assert await ids(status="refunded") == []
