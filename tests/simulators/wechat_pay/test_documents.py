from dataclasses import replace

from simulators.wechat_pay import documents
from tests.simulators.wechat_pay.test_state import ORDER, REFUND

PAID = replace(ORDER, state="SUCCESS", transaction_id="4200", paid_at=0.0)


def test_an_unpaid_order_tells_no_money_payer_or_number():
    assert documents.transaction("1900000109", ORDER) == {
        "appid": "wx1",
        "mchid": "1900000109",
        "out_trade_no": "ORDER1",
        "trade_state": "NOTPAY",
        "trade_state_desc": "订单未支付",
        "attach": "",
    }


def test_a_paid_order_tells_all():
    document = documents.transaction("1900000109", PAID)
    assert document["amount"] == {"total": 5000, "payer_total": 5000, "currency": "CNY", "payer_currency": "CNY"}
    assert (document["payer"], document["transaction_id"]) == ({"openid": "o1"}, "4200")
    assert document["success_time"] == "1970-01-01T08:00:00+08:00"


def test_a_refund_has_status_in_an_answer_and_refund_status_in_a_notification():
    answer, event = documents.refund(REFUND, PAID), documents.refund_event("1900000109", REFUND, PAID)
    assert (answer["status"], answer.get("refund_status"), answer.get("mchid")) == ("PROCESSING", None, None)
    assert (event.get("status"), event["refund_status"], event["mchid"]) == (None, "PROCESSING", "1900000109")
    assert (answer["amount"]["currency"], answer["amount"]["refund"]) == ("CNY", 2000)
    assert event["amount"] == {"total": 5000, "refund": 2000, "payer_total": 5000, "payer_refund": 2000}


def test_only_a_refund_that_succeeded_has_a_time():
    assert "success_time" not in documents.refund(REFUND, PAID)
    done = replace(REFUND, succeeded_at=86400.0)
    assert documents.refund(done, PAID)["success_time"] == "1970-01-02T08:00:00+08:00"
