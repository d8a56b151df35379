from datetime import UTC, datetime

import pytest

from core.ports import Refund, RefundState, TradeState, Transaction
from integrations.wechat_pay import reading

PAID = {
    "mchid": "1900000109",
    "appid": "wx1",
    "out_trade_no": "ORDER1",
    "transaction_id": "4200",
    "trade_state": "SUCCESS",
    "success_time": "2026-03-01T00:30:00+08:00",
    "payer": {"openid": "o1"},
    "amount": {"total": 5000, "payer_total": 5000, "currency": "CNY"},
}
REFUND = {
    "mchid": "1900000109",
    "out_trade_no": "ORDER1",
    "out_refund_no": "REFUND1",
    "refund_id": "5030",
    "status": "SUCCESS",
    "success_time": "2026-03-01T00:30:00+08:00",
    "amount": {"refund": 2000, "total": 5000, "currency": "CNY"},
}
MOMENT = datetime(2026, 2, 28, 16, 30, tzinfo=UTC)


def read(**changes) -> Transaction:
    return reading.transaction(PAID | changes, mchid="1900000109", appid="wx1")


def test_a_payment_is_read_whole_and_its_time_in_utc():
    assert read() == Transaction("ORDER1", "4200", TradeState.SUCCESS, 5000, "o1", MOMENT)


@pytest.mark.parametrize("state", ["NOTPAY", "CLOSED", "PAYERROR", "USERPAYING", "REVOKED"])
def test_an_unpaid_order_reads_with_and_without_an_amount(state):
    told = {"trade_state": state, "transaction_id": None, "success_time": None, "payer": {}}
    assert read(**told) == Transaction("ORDER1", None, TradeState(state), 5000, None, None)
    assert read(**told, amount=None) == Transaction("ORDER1", None, TradeState(state), 0, None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mchid": "1900000000"},
        {"mchid": None},
        {"appid": "wx2"},
        {"trade_state": "PAID"},
        {"out_trade_no": ""},
        {"transaction_id": None},
        {"success_time": "2026-03-01T00:30:00"},
        {"success_time": None},
        {"amount": None},
        {"amount": {"total": 0}},
        {"amount": {"total": -1}},
        {"amount": {"total": "5000"}},
        {"amount": {"total": 50.0}},
        {"amount": {"total": True}},
        {"amount": {"total": 5000, "currency": "USD"}},
        {"amount": [5000]},
    ],
)
def test_a_payment_that_does_not_hold_is_refused(wrong):
    with pytest.raises(ValueError):
        read(**wrong)


@pytest.mark.parametrize("strange", [None, [], "SUCCESS", 1])
def test_what_is_no_object_is_refused(strange):
    for read_it in (
        lambda: reading.transaction(strange, mchid="1900000109", appid="wx1"),
        lambda: reading.refund(strange),
        lambda: reading.refund_event(strange, mchid="1900000109"),
    ):
        with pytest.raises(ValueError, match="not an object"):
            read_it()


def test_a_refund_is_read_from_an_answer_and_from_a_notification():
    expected = Refund("REFUND1", "ORDER1", "5030", RefundState.SUCCESS, 2000, MOMENT)
    assert reading.refund(REFUND) == expected
    event = {name: value for name, value in REFUND.items() if name != "status"} | {"refund_status": "SUCCESS"}
    assert reading.refund_event(event, mchid="1900000109") == expected


@pytest.mark.parametrize("state", ["PROCESSING", "ABNORMAL", "CLOSED"])
def test_a_refund_without_success_has_no_time(state):
    assert reading.refund(REFUND | {"status": state}).succeeded_at is None


def test_a_refund_notification_keeps_its_state_under_its_own_name():
    with pytest.raises(ValueError, match="no refund_status"):
        reading.refund_event(REFUND, mchid="1900000109")


def test_a_refund_notification_of_another_merchant_is_refused():
    with pytest.raises(ValueError, match="another mchid"):
        reading.refund_event(REFUND | {"refund_status": "SUCCESS"}, mchid="1900000000")


def test_an_answer_tells_when_a_refund_was_accepted():
    assert reading.refund(REFUND).accepted_at is None
    assert reading.refund(REFUND | {"create_time": "2026-03-01T00:30:00+08:00"}).accepted_at == MOMENT


def test_a_bill_without_an_address_does_not_hold():
    assert reading.bill_address({"download_url": "https://a/b"}) == "https://a/b"
    for wrong in ({}, {"download_url": 1}, []):
        with pytest.raises(ValueError):
            reading.bill_address(wrong)
