import json

import pytest

from simulators.wechat_pay import fields
from simulators.wechat_pay.errors import Refused

NOW = 1_780_000_000.0
ORDER = {
    "appid": "wx00000000000demo1",
    "mchid": "1900000109",
    "description": "图文咨询",
    "out_trade_no": "ORDER1",
    "notify_url": "https://hospital.example/api/v1/notify/wechat-pay",
    "amount": {"total": 5000},
    "payer": {"openid": "o1"},
}
REFUND = {"out_trade_no": "ORDER1", "out_refund_no": "R", "amount": {"refund": 1, "total": 2, "currency": "CNY"}}


def read(keys, **changes) -> fields.OrderFields:
    return fields.read_order(ORDER | changes, keys, NOW)


def without(document, name):
    return {key: value for key, value in document.items() if key != name}


def test_an_order_is_read_with_the_vendors_defaults(keys):
    order = read(keys)
    assert order == fields.OrderFields(
        out_trade_no="ORDER1",
        appid="wx00000000000demo1",
        description="图文咨询",
        attach="",
        total=5000,
        openid="o1",
        notify_url="https://hospital.example/api/v1/notify/wechat-pay",
        time_expire=NOW + 7 * 86400,
    )


@pytest.mark.parametrize("number", ["Az_-|*", "x" * 32])
def test_the_edges_of_a_number_are_allowed(keys, number):
    assert read(keys, out_trade_no=number).out_trade_no == number


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("/mchid", {"mchid": "1900000000"}),
        ("/appid", {"appid": 1}),
        ("/description", {"description": ""}),
        ("/description", {"description": "字" * 128}),
        ("/out_trade_no", {"out_trade_no": "x" * 5}),
        ("/out_trade_no", {"out_trade_no": "x" * 33}),
        ("/out_trade_no", {"out_trade_no": "ORDER/1"}),
        ("/out_trade_no", {"out_trade_no": "订单订单订单"}),
        ("/out_trade_no", {"out_trade_no": "ORDER1\n"}),
        ("/attach", {"attach": "x" * 129}),
        ("/amount", {"amount": 5000}),
        ("/amount/total", {"amount": {"total": 0}}),
        ("/amount/total", {"amount": {"total": "1"}}),
        ("/amount/total", {"amount": {"total": True}}),
        ("/amount/currency", {"amount": {"total": 1, "currency": "USD"}}),
        ("/payer", {"payer": None}),
        ("/payer/openid", {"payer": {"openid": ""}}),
        ("/notify_url", {"notify_url": None}),
        ("/notify_url", {"notify_url": "https://hospital.example/notify?order=1"}),
        ("/notify_url", {"notify_url": "https://hospital.example/notify#1"}),
        ("/notify_url", {"notify_url": "http://hospital.example/notify"}),
        ("/notify_url", {"notify_url": "/notify"}),
        ("/notify_url", {"notify_url": f"https://hospital.example/{'x' * 256}"}),
        ("/time_expire", {"time_expire": "tomorrow"}),
        ("/time_expire", {"time_expire": 1}),
        ("/time_expire", {"time_expire": "2026-05-29T00:00:00"}),
        ("/time_expire", {"time_expire": "2026-05-28T20:27:39+00:00"}),
        ("/time_expire", {"time_expire": "2027-01-01T00:00:00+08:00"}),
    ],
)
def test_a_field_out_of_its_bounds_is_named(keys, field, changes):
    with pytest.raises(Refused) as refused:
        read(keys, **changes)
    assert (refused.value.code, refused.value.detail["field"]) == ("PARAM_ERROR", field)


def test_an_application_of_another_merchant_does_not_match(keys):
    with pytest.raises(Refused, match="APPID_MCHID_NOT_MATCH"):
        read(keys, appid="wx00000000000demo9")


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost", "[::1]:9000"])
def test_plain_http_is_taken_towards_this_machine(keys, host):
    assert read(keys, notify_url=f"http://{host}/notify").notify_url == f"http://{host}/notify"


def test_a_refund_is_read_by_either_number():
    assert fields.read_refund(REFUND) == fields.RefundFields("ORDER1", None, "R", 1, 2, "", None)
    by_theirs = without(REFUND, "out_trade_no") | {"transaction_id": "4200", "reason": "x" * 80}
    assert fields.read_refund(by_theirs) == fields.RefundFields(None, "4200", "R", 1, 2, "x" * 80, None)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("/transaction_id", without(REFUND, "out_trade_no")),
        ("/transaction_id", REFUND | {"transaction_id": "4200"}),
        ("/out_refund_no", REFUND | {"out_refund_no": "x" * 65}),
        ("/out_refund_no", without(REFUND, "out_refund_no")),
        ("/reason", REFUND | {"reason": "x" * 81}),
        ("/amount/currency", REFUND | {"amount": {"refund": 1, "total": 2}}),
        ("/amount/refund", REFUND | {"amount": {"refund": 0, "total": 2, "currency": "CNY"}}),
        ("/amount/total", REFUND | {"amount": {"refund": 1, "currency": "CNY"}}),
        ("/notify_url", REFUND | {"notify_url": "ftp://hospital.example/"}),
    ],
)
def test_a_refund_field_out_of_its_bounds_is_named(field, changed):
    with pytest.raises(Refused) as refused:
        fields.read_refund(changed)
    assert (refused.value.code, refused.value.detail["field"]) == ("PARAM_ERROR", field)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(Refused, match="PARAM_ERROR"):
        fields.read_object(body)


def test_an_object_is_read():
    assert fields.read_object(json.dumps(ORDER).encode()) == ORDER
