from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from core.orders.schemas import OpenPayment, OrderDetail, OrderQuery, OrderView, PaymentParameters

ORDER = {
    "_id": "01ORDER",
    "kind": "visit_fee",
    "status": "refunding",
    "subject_id": "01VISIT",
    "description": "互联网医院图文咨询费",
    "amount": 3_000,
    "expires_at": datetime(2026, 3, 1, tzinfo=UTC),
    "paid_at": None,
    "refund": {
        "out_refund_no": "01ORDER-R",
        "amount": 3_000,
        "reason": "timeout",
        "state": None,
        "refund_id": None,
        "requested_at": datetime(2026, 3, 2, tzinfo=UTC),
        "succeeded_at": None,
    },
    "created_at": datetime(2026, 3, 1, tzinfo=UTC),
    "transaction_id": "4200",
    "account_id": "01PATIENT",
    "duties": [],
    "history": [
        {"act": "pay", "frm": "pending", "to": "paid", "role": "system", "actor": "gateway", "reason": None, "at": None}
    ],
}


def test_an_order_is_shown_without_what_is_between_us_and_the_gateway():
    assert OrderView().dump(ORDER) == {
        "id": "01ORDER",
        "kind": "visit_fee",
        "status": "refunding",
        "visit": "01VISIT",
        "description": "互联网医院图文咨询费",
        "amount": 3_000,
        "expires_at": "2026-03-01T00:00:00.000Z",
        "paid_at": None,
        "refund": {
            "amount": 3_000,
            "reason": "timeout",
            "state": None,
            "requested_at": "2026-03-02T00:00:00.000Z",
            "succeeded_at": None,
        },
        "created_at": "2026-03-01T00:00:00.000Z",
    }


def test_a_step_says_from_where_to_where_and_by_which_role():
    (step,) = OrderDetail().dump(ORDER)["history"]
    assert step == {"act": "pay", "from": "pending", "to": "paid", "role": "system", "reason": None, "at": None}


@pytest.mark.parametrize(
    ("schema", "raw", "field"),
    [
        (OpenPayment(), {}, "channel"),
        (OpenPayment(), {"channel": "alipay"}, "channel"),
        (OpenPayment(), {"channel": "wechat_jsapi", "login_code": ""}, "login_code"),
        (OpenPayment(), {"channel": "wechat_jsapi", "login_code": "x" * 129}, "login_code"),
        (OpenPayment(), {"channel": "wechat_jsapi", "openid": "o-1"}, "openid"),
        (OrderQuery(), {"status": "free"}, "status"),
        (OrderQuery(), {"limit": "101"}, "limit"),
    ],
)
def test_a_wrong_field_is_named(schema, raw, field):
    with pytest.raises(ValidationError) as refused:
        schema.load(raw)
    assert list(refused.value.normalized_messages()) == [field]


def test_the_payment_parameters_bear_wechats_own_names():
    names = {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert set(PaymentParameters().fields) == names
    assert set(PaymentParameters().dump(dict.fromkeys(names, "x"))) == names
