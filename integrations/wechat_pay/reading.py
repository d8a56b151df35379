"""From the vendor's JSON to the port's values; anything that does not hold is a `ValueError`.

Amounts are integers in fen, times RFC 3339 with a zone and given back in UTC (pay.weixin.qq.com/doc/v3).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from core.ports import Refund, RefundState, TradeState, Transaction

PAID = frozenset({TradeState.SUCCESS, TradeState.REFUND})


def transaction(document: Any, *, mchid: str, appid: str) -> Transaction:
    """A payment of this merchant and application.

    An unpaid one is told without amount and payer: its amount reads 0. A paid one without an amount, a number or a
    time does not hold.
    """
    document = _object(document)
    _require_equal(document, "mchid", mchid)
    _require_equal(document, "appid", appid)
    state = TradeState(_text(document, "trade_state"))
    amount = _object(document.get("amount") or {})
    paid = state in PAID
    return Transaction(
        out_trade_no=_text(document, "out_trade_no"),
        transaction_id=_text(document, "transaction_id") if paid else document.get("transaction_id"),
        state=state,
        amount=_fen(amount, "total") if paid or "total" in amount else 0,
        payer_openid=_object(document.get("payer") or {}).get("openid"),
        succeeded_at=_time(document, "success_time") if paid else None,
    )


def refund(document: Any) -> Refund:
    """A refund as the API answers it."""
    document = _object(document)
    return replace(_refund(document, "status"), accepted_at=_optional_time(document, "create_time"))


def refund_event(document: Any, *, mchid: str) -> Refund:
    """A refund as a notification tells it: of this merchant, its state under another name."""
    document = _object(document)
    _require_equal(document, "mchid", mchid)
    return _refund(document, "refund_status")


def bill_address(document: Any) -> str:
    """Where a bill is to be had."""
    return _text(_object(document), "download_url")


def _refund(document: Mapping[str, Any], state_field: str) -> Refund:
    state = RefundState(_text(document, state_field))
    return Refund(
        out_refund_no=_text(document, "out_refund_no"),
        out_trade_no=_text(document, "out_trade_no"),
        refund_id=_text(document, "refund_id"),
        state=state,
        amount=_fen(_object(document.get("amount")), "refund"),
        succeeded_at=_time(document, "success_time") if state is RefundState.SUCCESS else None,
    )


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not an object")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"no {name}")
    return value


def _require_equal(document: Mapping[str, Any], name: str, ours: str) -> None:
    if document.get(name) != ours:
        raise ValueError(f"another {name}")


def _fen(amount: Mapping[str, Any], name: str) -> int:
    """Positive fen; a currency, where one is told, is CNY."""
    value = amount.get(name)
    if type(value) is not int or value <= 0 or amount.get("currency", "CNY") != "CNY":
        raise ValueError(f"no amount {name} in CNY")
    return value


def _time(document: Mapping[str, Any], name: str) -> datetime:
    moment = datetime.fromisoformat(_text(document, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name} without a zone")
    return moment.astimezone(UTC)


def _optional_time(document: Mapping[str, Any], name: str) -> datetime | None:
    return _time(document, name) if name in document else None
