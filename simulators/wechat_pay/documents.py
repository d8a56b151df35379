"""Orders and refunds as the gateway shows them, in answers and in notifications (they differ)."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from simulators.wechat_pay.state import Order, Refund

CHINA = timezone(timedelta(hours=8))
TRADE_STATES = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
    "PAYERROR": "支付失败(其他原因，如银行返回失败)",
}
RECEIVED_BY = "支付用户零钱"


def transaction(mchid: str, order: Order) -> dict[str, Any]:
    """The transaction object; amount, payer and WeChat Pay's number are told once it is paid."""
    document: dict[str, Any] = {
        "appid": order.appid,
        "mchid": mchid,
        "out_trade_no": order.out_trade_no,
        "trade_state": order.state,
        "trade_state_desc": TRADE_STATES[order.state],
        "attach": order.attach,
    }
    if order.paid_at is None:
        return document
    amount = {"total": order.total, "payer_total": order.total, "currency": "CNY", "payer_currency": "CNY"}
    return document | {
        "transaction_id": order.transaction_id,
        "trade_type": "JSAPI",
        "bank_type": "OTHERS",
        "success_time": rfc3339(order.paid_at),
        "payer": {"openid": order.openid},
        "amount": amount,
    }


def refund(refund: Refund, order: Order) -> dict[str, Any]:
    """The refund object of the API, with `status`."""
    document = _common(refund, order) | {
        "channel": "ORIGINAL",
        "create_time": rfc3339(refund.created_at),
        "status": refund.status,
        "funds_account": "AVAILABLE",
    }
    document["amount"] |= {
        "settlement_total": order.total,
        "settlement_refund": refund.amount,
        "discount_refund": 0,
        "currency": "CNY",
    }
    return document


def refund_event(mchid: str, refund: Refund, order: Order) -> dict[str, Any]:
    """The content of a refund notification, with `mchid` and `refund_status`, and without a currency."""
    return _common(refund, order) | {"mchid": mchid, "refund_status": refund.status}


def rfc3339(moment: float) -> str:
    """Seconds since 1970 as the vendor writes them, in China's time."""
    return datetime.fromtimestamp(moment, UTC).astimezone(CHINA).isoformat(timespec="seconds")


def _common(refund: Refund, order: Order) -> dict[str, Any]:
    document: dict[str, Any] = {
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "user_received_account": RECEIVED_BY,
        "amount": {
            "total": order.total,
            "refund": refund.amount,
            "payer_total": order.total,
            "payer_refund": refund.amount,
        },
    }
    if refund.succeeded_at is not None:
        document["success_time"] = rfc3339(refund.succeeded_at)
    return document
