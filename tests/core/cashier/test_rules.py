from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core.cashier import rules
from core.ports import Bill, BilledPayment, BilledRefund, RefundState

DAY = date(2026, 5, 3)
NOON = datetime(2026, 5, 3, 4, 0, tzinfo=UTC)  # noon in China
NOTHING = {"payments": 0, "paid": 0, "refunds": 0, "refunded": 0}


def an_order(id_: str = "o1", **changes: Any) -> Any:
    return {
        "_id": id_,
        "status": "paid",
        "amount": 3_000,
        "paid_at": NOON,
        "transaction_id": f"t-{id_}",
        "refund": None,
    } | changes


def a_refund(id_: str = "o1", **changes: Any) -> Any:
    return {"out_refund_no": f"{id_}-R", "amount": 3_000, "state": "SUCCESS", "requested_at": NOON} | changes


def paid(id_: str = "o1", amount: int = 3_000) -> BilledPayment:
    return BilledPayment(id_, f"t-{id_}", amount, NOON)


def refunded(id_: str = "o1", state: RefundState = RefundState.SUCCESS, **changes: Any) -> BilledRefund:
    values = {"out_trade_no": id_, "out_refund_no": f"{id_}-R", "refund_id": "r", "amount": 3_000, "at": NOON}
    return BilledRefund(**{**values, "state": state, **changes})


def compare(*orders: Any, payments: Any = (), refunds: Any = (), other_days: Any = ()) -> rules.Comparison:
    bill = Bill(DAY, tuple(payments), tuple(refunds))
    return rules.compare(bill, {order["_id"]: order for order in orders}, of_other_days=other_days)


def kinds(found: rules.Comparison) -> list[str]:
    return [one["kind"] for one in found.differences]


def test_a_day_without_money_agrees():
    assert compare() == rules.Comparison(NOTHING, NOTHING, [])


@pytest.mark.feature("X1.2")
def test_a_payment_is_compared_to_the_fen_both_ways():
    assert kinds(compare(an_order(), payments=[paid()])) == []
    assert kinds(compare(an_order(), payments=[paid(amount=2_999)])) == ["amount_differs"]
    assert kinds(compare(an_order())) == ["missing_at_gateway"]
    assert kinds(compare(payments=[paid()])) == ["missing_here"]
    assert kinds(compare(an_order(status="closed", paid_at=None), payments=[paid()])) == ["state_differs"]


def test_a_payment_that_the_gateway_took_twice_is_known_here_once():
    found = compare(an_order(), payments=[paid(), paid()])
    assert (kinds(found), found.ours["paid"], found.theirs["paid"]) == (["missing_here"], 3_000, 6_000)


def test_orders_of_other_days_are_compared_only_where_the_bill_names_them():
    earlier = an_order(paid_at=NOON - timedelta(days=1))
    assert compare(earlier) == rules.Comparison(NOTHING, NOTHING, [])
    assert kinds(compare(earlier, payments=[paid()])) == []


@pytest.mark.feature("X1.2")
def test_a_refund_is_compared_to_the_fen_both_ways():
    order = an_order(paid_at=NOON - timedelta(days=3), status="refunded", refund=a_refund())
    assert kinds(compare(order, refunds=[refunded()])) == []
    assert kinds(compare(order, refunds=[refunded(amount=2_999)])) == ["refund_amount_differs"]
    assert kinds(compare(order)) == ["refund_missing_at_gateway"]
    assert kinds(compare(order, other_days={"o1-R"})) == []
    assert kinds(compare(refunds=[refunded()])) == ["refund_missing_here"]
    assert kinds(compare(order, refunds=[refunded(), refunded()])) == ["refund_missing_here"]
    assert kinds(compare(order | {"refund": None}, refunds=[refunded()])) == ["refund_missing_here"]
    assert kinds(compare(order, refunds=[refunded(out_refund_no="x")])) == [
        "refund_missing_here",
        "refund_missing_at_gateway",
    ]


@pytest.mark.parametrize(
    ("billed", "known", "agrees"),
    [
        ("SUCCESS", "SUCCESS", True),
        ("SUCCESS", "PROCESSING", False),
        ("SUCCESS", None, False),
        ("SUCCESS", "ABNORMAL", False),
        ("PROCESSING", "SUCCESS", True),
        ("PROCESSING", "ABNORMAL", True),
        ("PROCESSING", None, True),
        ("ABNORMAL", "SUCCESS", True),
        ("ABNORMAL", "CLOSED", True),
        ("ABNORMAL", "PROCESSING", False),
        ("CLOSED", None, False),
    ],
)
def test_what_we_know_may_be_later_than_the_bill_and_never_earlier(billed, known, agrees):
    order = an_order(paid_at=None, status="refunding", refund=a_refund(state=known))
    found = compare(order, refunds=[refunded(state=RefundState(billed))])
    assert kinds(found) == ([] if agrees else ["refund_state_differs"])


def test_a_closed_refund_under_an_earlier_number_moved_no_money():
    order = an_order(status="refunding", refund=a_refund(out_refund_no="o1-R2"), paid_at=None)
    rows = [refunded(state=RefundState.ABNORMAL), refunded(out_refund_no="o1-R2")]
    found = compare(order, refunds=rows)
    assert (found.differences, found.ours) == ([], found.theirs)
    assert kinds(compare(order, refunds=[refunded(), rows[1]])) == ["refund_missing_here"]


def test_refunds_begun_that_day_and_not_billed_are_asked_for():
    orders = [
        an_order("o1", refund=a_refund("o1")),
        an_order("o2", refund=a_refund("o2")),
        an_order("o3", refund=a_refund("o3", requested_at=NOON - timedelta(days=1))),
        an_order("o4"),
    ]
    found = rules.unbilled_refunds(Bill(DAY, refunds=(refunded("o1"),)), orders)
    assert [one["out_refund_no"] for one in found] == ["o2-R"]


def test_a_day_begins_and_ends_at_midnight_in_china():
    span = rules.span_of(DAY)
    assert (span.begin, span.end) == (datetime(2026, 5, 2, 16, tzinfo=UTC), datetime(2026, 5, 3, 16, tzinfo=UTC))
    assert [span.holds(moment) for moment in (span.begin, span.end, None)] == [True, False, False]


@pytest.mark.parametrize(
    ("now", "done", "expected"),
    [
        (datetime(2026, 5, 4, 2, 10, tzinfo=UTC), [], ["2026-05-03"]),
        (datetime(2026, 5, 4, 2, 9, tzinfo=UTC), [], ["2026-05-02"]),
        (datetime(2026, 5, 4, 2, 10, tzinfo=UTC), ["2026-05-03"], []),
        (datetime(2026, 5, 4, 2, 10, tzinfo=UTC), ["2026-04-30", "2026-05-02"], ["2026-05-01", "2026-05-03"]),
        (datetime(2026, 5, 4, 2, 10, tzinfo=UTC), ["2026-04-01"], ["2026-05-03"]),
    ],
)
def test_which_days_are_compared(now, done, expected):
    assert [day.isoformat() for day in rules.days_to_compare(now, done)] == expected


def test_numbers_of_refunds_follow_each_other():
    assert rules.next_refund_number("o1", "o1-R") == "o1-R2"
    assert rules.next_refund_number("o1", "o1-R2") == "o1-R3"
