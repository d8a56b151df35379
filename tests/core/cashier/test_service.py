import asyncio
from datetime import date, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.auth import SYSTEM
from core.cashier import service
from core.errors import Conflict, Forbidden, Invalid, NotFound, ServiceUnavailable, WrongState
from core.ports import Rejected, Unavailable
from tests.core.consulting import FEE
from tests.core.partial import caller_of, let_down, lift

ADMIN = caller_of("admin", "office")


async def compared(counting):
    """The comparison of the day, made on the next morning."""
    counting.next_morning()
    return await service.reconcile(counting.ctx, date.fromisoformat(counting.day), by=SYSTEM)


async def retried(counting, case, to: str = "payer"):
    await lift(counting.ctx, ADMIN)
    return await service.retry_refund(
        counting.ctx, caller=ADMIN, order_id=case.order_id, reason="患者已更换银行卡", to=to
    )


def told(found):
    """Each difference in short."""
    keys = ("kind", "order_id", "our_amount", "our_state", "their_amount", "their_state")
    return [tuple(one[key] for key in keys) for one in found["differences"]]


def counted(kind: str) -> float:
    return REGISTRY.get_sample_value("reconciliation_differences_total", {"kind": kind}) or 0.0


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_day_that_agrees_has_the_same_totals_on_both_sides(counting):
    await counting.house.waiting()
    await counting.refunded()
    await counting.house.submitted()  # never paid: no money
    found = await compared(counting)
    assert found["ours"] == found["theirs"] == {"payments": 2, "paid": 2 * FEE, "refunds": 1, "refunded": FEE}
    assert (found["_id"], found["version"], found["by"], found["differences"]) == (counting.day, 1, "system", [])


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_each_difference_is_told_with_both_sides_figures(counting):
    lost, wrong, unpaid = [await counting.house.waiting() for _ in range(3)]
    short, unknown, unfinished = [await counting.refunded() for _ in range(3)]
    extra = await counting.house.waiting()
    docs = counting.ctx.store.db["orders"]
    await docs.delete_one({"_id": lost.order_id})
    await counting.change(wrong, amount=FEE + 1)
    await counting.change(unpaid, status="pending", paid_at=None)
    await counting.change(short, refund__amount=FEE - 1)
    await counting.change(unknown, status="paid", refund=None)
    await counting.change(unfinished, status="refunding", refund__state="PROCESSING")
    order = await extra.order()
    refund = (await short.order())["refund"] | {"out_refund_no": "X-R", "state": None, "amount": FEE}
    await docs.insert_one(order | {"_id": "NEVERPAID", "refund": refund, "status": "refunding"})
    found = await compared(counting)
    expected = {
        ("missing_here", lost.order_id, None, None, FEE, "SUCCESS"),
        ("amount_differs", wrong.order_id, FEE + 1, "paid", FEE, "SUCCESS"),
        ("state_differs", unpaid.order_id, FEE, "pending", FEE, "SUCCESS"),
        ("missing_at_gateway", "NEVERPAID", FEE, "refunding", None, None),
        ("refund_amount_differs", short.order_id, FEE - 1, "SUCCESS", FEE, "SUCCESS"),
        ("refund_missing_here", unknown.order_id, None, "paid", FEE, "SUCCESS"),
        ("refund_state_differs", unfinished.order_id, FEE, "PROCESSING", FEE, "SUCCESS"),
        ("refund_missing_at_gateway", "NEVERPAID", FEE, "refunding", None, None),
    }
    assert (set(told(found)), found["difference_count"]) == (expected, 8)
    assert found["theirs"] == {"payments": 7, "paid": 7 * FEE, "refunds": 3, "refunded": 3 * FEE}
    assert found["ours"] == {"payments": 6, "paid": 6 * FEE + 1, "refunds": 3, "refunded": 3 * FEE - 1}


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_differences_are_logged_and_counted_without_anybodys_name(counting):
    case = await counting.house.waiting()
    await counting.change(case, amount=FEE + 1)
    before = counted("amount_differs")
    with capture_logs() as logs:
        await compared(counting)
    errors = [line for line in logs if line["log_level"] == "error"]
    assert [line["event"] for line in errors] == ["reconciliation.difference", "reconciliation.done"]
    assert errors[0] == {
        "event": "reconciliation.difference",
        "log_level": "error",
        "day": counting.day,
        "kind": "amount_differs",
        "order": case.order_id,
        "ours": FEE + 1,
        "theirs": FEE,
    }
    assert counted("amount_differs") == before + 1


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_comparing_again_replaces_the_result_and_keeps_the_run(counting):
    case = await counting.house.waiting()
    await counting.change(case, amount=FEE + 1)
    first = await compared(counting)
    before = await case.order()
    await counting.change(case, amount=FEE)
    second = await service.reconcile_by_hand(counting.ctx, caller=ADMIN, day=counting.day)
    assert (before["version"], before["status"]) == ((await case.order())["version"], "paid")
    assert [(one["version"], one["difference_count"]) for one in (first, second)] == [(1, 1), (2, 0)]
    assert [(run["version"], run["by"], run["differences"]) for run in second["runs"]] == [
        (1, "system", 1),
        (2, "office", 0),
    ]


@pytest.mark.gen_test(timeout=60)
async def test_two_that_compare_at_once_do_it_once(counting):
    await counting.house.waiting()
    counting.next_morning()
    day = date.fromisoformat(counting.day)
    runs = [service.reconcile(counting.ctx, day, by=SYSTEM) for _ in range(4)]
    ended = await asyncio.gather(*runs, return_exceptions=True)
    refused = [one for one in ended if isinstance(one, Conflict)]
    kept = await service.require_day(counting.ctx, counting.day)
    assert (len(refused), {one.code for one in refused}) == (3, {"in_progress"})
    assert (kept["version"], len(kept["runs"])) == (1, 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_bill_that_is_not_ready_changes_nothing_and_holds_nobody_up(counting):
    await counting.house.waiting()
    day = date.fromisoformat(counting.day)
    with pytest.raises(Unavailable):
        await service.reconcile(counting.ctx, day, by=SYSTEM)
    with pytest.raises(NotFound):
        await service.require_day(counting.ctx, counting.day)
    counting.next_morning()
    await counting.house.faults(error_calls=1, error_code="NO_AUTH")
    with pytest.raises(ServiceUnavailable):
        await service.reconcile(counting.ctx, day, by=SYSTEM)
    assert (await service.reconcile(counting.ctx, day, by=SYSTEM))["version"] == 1


@pytest.mark.gen_test
async def test_only_days_of_the_last_three_months_can_be_compared(counting):
    today = counting.today
    for wrong in (today + timedelta(days=1), today - timedelta(days=91)):
        with pytest.raises(Invalid):
            await service.reconcile_by_hand(counting.ctx, caller=ADMIN, day=wrong.isoformat())
    with pytest.raises(NotFound):
        await service.reconcile_by_hand(counting.ctx, caller=ADMIN, day="2026-02-30")
    assert await service.days(counting.ctx, limit=5, cursor=None) == []


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_the_gateway_took_after_midnight_is_no_difference_of_the_day_before(counting):
    case = await counting.refunded()
    yesterday = date.fromisoformat(counting.day) - timedelta(days=1)
    begun = counting.clock.now() - timedelta(days=1)
    await counting.change(case, refund__requested_at=begun, paid_at=begun - timedelta(days=1))
    counting.next_morning()
    before = await service.reconcile(counting.ctx, yesterday, by=SYSTEM)
    assert (before["differences"], before["ours"]["refunds"], before["theirs"]["refunds"]) == ([], 0, 0)
    after = await service.reconcile(counting.ctx, date.fromisoformat(counting.day), by=SYSTEM)
    assert (after["ours"]["refunds"], after["theirs"]["refunds"], after["differences"]) == (1, 1, [])


@pytest.mark.gen_test(timeout=60)
async def test_refunds_that_stand_still_are_listed(counting):
    case = await counting.stopped()
    await counting.refunded()
    for asked in ("abnormal", "stopped", "open"):
        [listed] = await service.refunds(counting.ctx, limit=5, cursor=None, refund=asked)
        assert (listed["_id"], listed["refund"]["state"]) == (case.order_id, "ABNORMAL")
        assert [(one["kind"], one["error"]) for one in listed["stopped"]] == [("order.refund", "rejected ABNORMAL")]


@pytest.mark.feature("P1.10")
@pytest.mark.gen_test(timeout=60)
async def test_an_abnormal_refund_settled_at_the_gateway_ends_when_it_is_tried_again(counting):
    case = await counting.stopped()
    refund = (await case.order())["refund"]
    await counting.ctx.payment.refund_to_merchant(refund["refund_id"], refund["out_refund_no"])
    await counting.house.settle_refund(case.order_id, "SUCCESS")
    after = await retried(counting, case)
    order = await case.order()
    assert (after["status"], after["refund"]["state"], after["stopped"], order["duties"]) == (
        "refunded",
        "SUCCESS",
        [],
        [],
    )
    assert [(step["act"], step["role"], step["reason"]) for step in order["history"]][-2:] == [
        ("refund_retry", "admin", "患者已更换银行卡"),
        ("refunded", "system", None),
    ]
    assert await counting.house.ledger(case.order_id) == {"paid": FEE, "refunded": FEE, "held": 0}


@pytest.mark.gen_test(timeout=60)
async def test_an_abnormal_refund_is_paid_out_to_the_hospital_once(counting):
    case = await counting.stopped()
    await counting.house.faults(hold_refunds=True)
    after = await retried(counting, case, to="hospital")
    assert (after["status"], after["refund"]["state"]) == ("refunding", "PROCESSING")
    with pytest.raises(WrongState):
        await retried(counting, case, to="hospital")
    await counting.house.settle_refund(case.order_id, "SUCCESS")
    await counting.house.rest()
    assert (await case.order())["status"] == "refunded"
    assert [step["act"] for step in (await case.order())["history"]].count("refund_to_hospital") == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_the_gateway_closed_gets_a_new_number_and_goes_back_once(counting):
    case = await counting.stopped("CLOSED")
    after = await retried(counting, case)
    assert after["refund"]["out_refund_no"] == f"{case.order_id}-R2"
    await counting.house.rest()
    assert (await case.order())["status"] == "refunded"
    assert await counting.house.ledger(case.order_id) == {"paid": FEE, "refunded": FEE, "held": 0}
    found = await compared(counting)
    assert (found["differences"], found["ours"], found["theirs"]["refunds"]) == ([], found["theirs"], 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_refused_for_want_of_money_is_tried_again_under_its_number(counting):
    case = await counting.house.waiting()
    await counting.house.faults(error_calls=1, error_code="NOT_ENOUGH")
    await case.act(case.doctor, "refund", reason="误操作")
    await counting.house.rest()
    [listed] = await service.refunds(counting.ctx, limit=5, cursor=None, refund="stopped")
    assert (listed["refund"]["state"], listed["stopped"][0]["error"]) == (None, "rejected NOT_ENOUGH")
    assert await service.refunds(counting.ctx, limit=5, cursor=None, refund="abnormal") == []
    await retried(counting, case)
    await counting.house.rest()
    order = await case.order()
    assert (order["status"], order["refund"]["out_refund_no"]) == ("refunded", f"{case.order_id}-R")


@pytest.mark.gen_test(timeout=60)
async def test_a_refund_that_was_not_given_up_is_not_tried_again(counting):
    paid, done = await counting.house.waiting(), await counting.refunded()
    for case in (paid, done):
        before = await case.order()
        with pytest.raises(WrongState):
            await retried(counting, case)
        assert await case.order() == before
    with pytest.raises(NotFound):
        await service.retry_refund(counting.ctx, caller=ADMIN, order_id="none", reason="x", to="payer")


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=60)
async def test_without_a_fresh_proof_no_refund_is_tried_again_and_no_money_goes_to_the_hospital(counting):
    case = await counting.stopped()
    before = await case.order()
    await let_down(counting.ctx, ADMIN)
    for to in ("payer", "hospital"):
        with pytest.raises(Forbidden) as refused:
            await service.retry_refund(counting.ctx, caller=ADMIN, order_id=case.order_id, reason="x", to=to)
        assert refused.value.code == "elevation_required"
    await counting.house.rest()
    assert await case.order() == before


@pytest.mark.gen_test(timeout=60)
async def test_only_an_abnormal_refund_can_be_paid_out_to_the_hospital(counting):
    case = await counting.stopped("CLOSED")
    before = await case.order()
    with pytest.raises(WrongState):
        await retried(counting, case, to="hospital")
    assert await case.order() == before


@pytest.mark.gen_test(timeout=60)
async def test_a_pay_out_that_the_gateway_refuses_leaves_the_refund_where_it_was(counting):
    case = await counting.stopped()
    await counting.house.faults(error_calls=1, error_code="NO_AUTH")
    with pytest.raises(WrongState) as refused:
        await retried(counting, case, to="hospital")
    assert isinstance(refused.value.__cause__, Rejected)
    order = await case.order()
    assert (order["refund"]["state"], [one["state"] for one in order["duties"]]) == ("ABNORMAL", ["dead"])
