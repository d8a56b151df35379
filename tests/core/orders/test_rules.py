from datetime import UTC, datetime, timedelta

import pytest

from core.orders.rules import QUERY_AFTER, full_refund, next_query_in

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("age", "wait"), [(0, 5), (5, 25), (6, 24), (30, 90), (119, 1), (120, 480), (600, 600)])
def test_a_payment_is_asked_for_at_five_seconds_half_a_minute_two_and_ten_minutes(age, wait):
    assert next_query_in(NOW - timedelta(seconds=age), NOW) == wait
    assert QUERY_AFTER == (5, 30, 120, 600)


def test_a_refund_is_the_whole_amount_under_a_number_that_follows_from_the_order():
    refund = full_refund({"_id": "O1", "amount": 4_900}, reason="患者取消", at=NOW)
    assert refund == {
        "out_refund_no": "O1-R",
        "amount": 4_900,
        "reason": "患者取消",
        "state": None,
        "refund_id": None,
        "requested_at": NOW,
        "succeeded_at": None,
    }
