"""What a request body may hold (pay.weixin.qq.com/doc/v3: JSAPI 下单, 退款申请); anything else is `PARAM_ERROR`."""

import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from simulators.wechat_pay.documents import CHINA
from simulators.wechat_pay.errors import Refused, bad_field
from simulators.wechat_pay.keys import Keys

OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
DEFAULT_VALIDITY = 7 * 86400
MINIMUM_VALIDITY = 60
MAXIMUM_VALIDITY = 90 * 86400
BILL_PERIOD = timedelta(days=92)


@dataclass(frozen=True)
class OrderFields:
    """A JSAPI order as it was asked for; `total` in fen, `time_expire` in seconds since 1970."""

    out_trade_no: str
    appid: str
    description: str
    attach: str
    total: int
    openid: str
    notify_url: str
    time_expire: float


@dataclass(frozen=True)
class RefundFields:
    """A refund as it was asked for; exactly one of `out_trade_no` and `transaction_id` is set; amounts in fen."""

    out_trade_no: str | None
    transaction_id: str | None
    out_refund_no: str
    amount: int
    total: int
    reason: str
    notify_url: str | None


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request."""
    try:
        document = json.loads(body)
    except ValueError as failure:
        raise Refused("PARAM_ERROR", "请求体不是合法的 JSON") from failure
    if not isinstance(document, dict):
        raise Refused("PARAM_ERROR", "请求体不是 JSON 对象")
    return document


def read_order(document: dict[str, Any], keys: Keys, now: float) -> OrderFields:
    """Check an order; the merchant must be ours and the application bound to it."""
    require_merchant(document.get("mchid"), keys)
    appid = _text(document, "appid", "/appid", 32)
    if appid not in keys.appids:
        raise Refused("APPID_MCHID_NOT_MATCH", "appid 与 mchid 不匹配")
    amount = _object(document, "amount")
    return OrderFields(
        out_trade_no=_number(document, "out_trade_no", OUT_TRADE_NO),
        appid=appid,
        description=_text(document, "description", "/description", 127),
        attach=_optional_text(document, "attach", 128) or "",
        total=_fen(amount, "total"),
        openid=_text(_object(document, "payer"), "openid", "/payer/openid", 128),
        notify_url=_notify_url(document.get("notify_url")),
        time_expire=_time_expire(document.get("time_expire"), now),
    )


def read_refund(document: dict[str, Any]) -> RefundFields:
    """Check a refund request."""
    amount = _object(document, "amount")
    if amount.get("currency") != "CNY":
        raise bad_field("/amount/currency", "只支持 CNY")
    named = [name for name in ("out_trade_no", "transaction_id") if name in document]
    if len(named) != 1:
        raise bad_field("/transaction_id", "transaction_id 和 out_trade_no 二选一")
    by_our_number = named == ["out_trade_no"]
    notify_url = document.get("notify_url")
    return RefundFields(
        out_trade_no=_number(document, "out_trade_no", OUT_TRADE_NO) if by_our_number else None,
        transaction_id=None if by_our_number else _text(document, "transaction_id", "/transaction_id", 32),
        out_refund_no=_number(document, "out_refund_no", OUT_REFUND_NO),
        amount=_fen(amount, "refund"),
        total=_fen(amount, "total"),
        reason=_optional_text(document, "reason", 80) or "",
        notify_url=None if notify_url is None else _notify_url(notify_url),
    )


def require_merchant(mchid: Any, keys: Keys) -> None:
    """A call speaks for the merchant that signed it."""
    if mchid != keys.mchid:
        raise bad_field("/mchid", "mchid 与签名的商户号不一致")


def read_bill_date(value: str | None, now: float) -> date:
    """The day of a bill: past, and within three months."""
    today = datetime.fromtimestamp(now, UTC).astimezone(CHINA).date()
    try:
        day = datetime.strptime(value or "", "%Y-%m-%d").replace(tzinfo=CHINA).date()
    except ValueError as failure:
        raise bad_field("/bill_date", "应为 yyyy-MM-DD 格式") from failure
    if not today - BILL_PERIOD <= day <= today:
        raise bad_field("/bill_date", "应为三个月内的日期")
    return day


def read_packing(value: str | None) -> bool:
    """Whether the file is asked for in gzip."""
    if value not in (None, "GZIP"):
        raise bad_field("/tar_type", "应为 GZIP")
    return value is not None


def require_whole_bill(kind: str) -> None:
    """Only the bill of everything is made here."""
    if kind != "ALL":
        raise bad_field("/bill_type", "仅支持 ALL")


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise bad_field(f"/{name}", "缺少必填对象")
    return value


def _text(document: dict[str, Any], name: str, pointer: str, longest: int) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise bad_field(pointer, f"应为 1 至 {longest} 个字符")
    return value


def _optional_text(document: dict[str, Any], name: str, longest: int) -> str | None:
    return _text(document, name, f"/{name}", longest) if name in document else None


def _number(document: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise bad_field(f"/{name}", "长度或字符不符合要求")
    return value


def _fen(amount: dict[str, Any], name: str) -> int:
    if amount.get("currency", "CNY") != "CNY":
        raise bad_field("/amount/currency", "只支持 CNY")
    value = amount.get(name)
    if type(value) is not int or not 1 <= value <= 10**10:
        raise bad_field(f"/amount/{name}", "应为大于 0 的整数，单位为分")
    return value


def _time_expire(value: Any, now: float) -> float:
    if value is None:
        return now + DEFAULT_VALIDITY
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as failure:
        raise bad_field("/time_expire", "应为 RFC 3339 格式") from failure
    if moment.tzinfo is None:
        raise bad_field("/time_expire", "应带时区")
    expires = moment.timestamp()
    if not now + MINIMUM_VALIDITY <= expires <= now + MAXIMUM_VALIDITY:
        raise bad_field("/time_expire", "应在 1 分钟之后、90 天之内")
    return expires


def _notify_url(value: Any) -> str:
    """`https` and nothing after the path, as the vendor says; plain `http` only towards this machine."""
    if not isinstance(value, str) or len(value) > 256:
        raise bad_field("/notify_url", "应为不超过 256 个字符的地址")
    parts = urlsplit(value)
    if parts.query or parts.fragment or not parts.hostname:
        raise bad_field("/notify_url", "应为完整地址，且不能携带参数")
    if parts.scheme != "https" and not (parts.scheme == "http" and _on_this_machine(parts.hostname)):
        raise bad_field("/notify_url", "必须为 https 地址")
    return value


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
