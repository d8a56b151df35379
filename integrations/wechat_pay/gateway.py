"""WeChat Pay's JSAPI channel behind the hospital's payment port (pay.weixin.qq.com/doc/v3)."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import TypeVar

from wechatpayv3.async_ import AsyncWeChatPay

from core.ports import (
    AlreadyPaid,
    BadNotification,
    Bill,
    PaymentRequest,
    Refund,
    RefundRequest,
    Transaction,
    Unavailable,
)
from integrations.wechat_pay import bills, reading
from integrations.wechat_pay.calls import Answer, call, require_success
from integrations.wechat_pay.client import make_client
from integrations.wechat_pay.config import WeChatPayConfig
from integrations.wechat_pay.notifications import open_notification

T = TypeVar("T")

CHINA = timezone(timedelta(hours=8))
# The gateway takes no expiry within the next minute; five seconds more for its clock and the way there. The caller
# closes the order at its own deadline, so a little more room here lets nobody pay late unnoticed.
MINIMUM_VALIDITY = timedelta(seconds=65)
# Letters that stand in a path as they are: another would be escaped there but not in what is signed.
OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-*]{6,32}")
OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-*]{1,64}")

# A busy day's bill is some megabytes.
BILL_SECONDS = 30.0

UNKNOWN = frozenset({"ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"})
PAYMENT_EVENTS = frozenset({"TRANSACTION.SUCCESS"})
REFUND_EVENTS = frozenset({"REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"})


class WeChatPay:
    """Fulfils `core.ports.PaymentGateway` for one merchant and mini-program. `start()` before use, `stop()` after.

    RSA is done on the loop: a call signs once and verifies once, `prepay` signs twice (about 1 ms each, measured), a
    notification is verified in 0.1 ms.
    """

    def __init__(self, config: WeChatPayConfig, *, now: Callable[[], datetime]) -> None:
        self._config = config
        self._now = now
        self._client: AsyncWeChatPay = make_client(config)

    async def start(self) -> None:
        """Open the connection pool, which lives until `stop()`."""
        await self._client.__aenter__()

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.__aexit__(None, None, None)

    async def prepay(self, request: PaymentRequest) -> Mapping[str, str]:
        """Open the payment, or the same one again, and sign the parameters of `wx.requestPayment`.

        The first request of a number decides: another amount or payer later is `Rejected`. A paid order: `AlreadyPaid`.
        """
        _require_number(OUT_TRADE_NO, request.out_trade_no)
        expires_at = max(request.expires_at, self._now() + MINIMUM_VALIDITY)
        answer = await self._call(
            "prepay",
            request.out_trade_no,
            lambda: self._client.pay(
                description=request.description,
                out_trade_no=request.out_trade_no,
                amount={"total": request.amount, "currency": "CNY"},
                payer={"openid": request.payer_openid},
                time_expire=expires_at.astimezone(CHINA).isoformat(timespec="seconds"),
            ),
        )
        if answer.code == "ORDERPAID":
            raise AlreadyPaid(request.out_trade_no)
        require_success(answer)
        prepay_id = answer.document.get("prepay_id")
        if not isinstance(prepay_id, str) or not prepay_id:
            raise Unavailable("wechat_pay prepay: no prepay_id")
        return self._jsapi_parameters(prepay_id)

    async def query(self, out_trade_no: str) -> Transaction | None:
        """The payment as it stands; None when the gateway knows no such number. Unpaid, its amount is 0."""
        _require_number(OUT_TRADE_NO, out_trade_no)
        answer = await self._call("query", out_trade_no, lambda: self._client.query(out_trade_no=out_trade_no))
        if answer.code in UNKNOWN:
            return None
        require_success(answer)
        config = self._config
        found = _read("query", lambda: reading.transaction(answer.document, mchid=config.mchid, appid=config.appid))
        if found.out_trade_no != out_trade_no:
            raise Unavailable("wechat_pay query: the answer is about another order")
        return found

    async def close(self, out_trade_no: str) -> None:
        """Make sure it can no longer be paid; unknown and closed numbers are fine, a paid one is `AlreadyPaid`."""
        _require_number(OUT_TRADE_NO, out_trade_no)
        answer = await self._call("close", out_trade_no, lambda: self._client.close(out_trade_no=out_trade_no))
        if answer.code == "ORDERPAID":
            raise AlreadyPaid(out_trade_no)
        if answer.code not in UNKNOWN and answer.code != "ORDER_CLOSED":
            require_success(answer)

    async def refund(self, request: RefundRequest) -> Refund:
        """Ask for a refund; a repeat with the same number is the same refund, with other amounts `Rejected`."""
        _require_number(OUT_TRADE_NO, request.out_trade_no)
        _require_number(OUT_REFUND_NO, request.out_refund_no)
        answer = await self._call(
            "refund",
            request.out_refund_no,
            lambda: self._client.refund(
                out_refund_no=request.out_refund_no,
                out_trade_no=request.out_trade_no,
                amount={"refund": request.amount, "total": request.total, "currency": "CNY"},
                reason=request.reason,
                notify_url=self._config.refund_notify_url,
            ),
        )
        require_success(answer)
        refund = _read("refund", lambda: reading.refund(answer.document))
        told = (refund.out_refund_no, refund.out_trade_no, refund.amount)
        if told != (request.out_refund_no, request.out_trade_no, request.amount):
            raise Unavailable("wechat_pay refund: the answer is about another refund")
        return refund

    async def query_refund(self, out_refund_no: str) -> Refund | None:
        """The refund as it stands; None when the gateway knows no such number."""
        _require_number(OUT_REFUND_NO, out_refund_no)
        answer = await self._call(
            "query_refund", out_refund_no, lambda: self._client.query_refund(out_refund_no=out_refund_no)
        )
        if answer.code in UNKNOWN:
            return None
        require_success(answer)
        refund = _read("query_refund", lambda: reading.refund(answer.document))
        if refund.out_refund_no != out_refund_no:
            raise Unavailable("wechat_pay query_refund: the answer is about another refund")
        return refund

    async def refund_to_merchant(self, refund_id: str, out_refund_no: str) -> Refund:
        """发起异常退款, `MERCHANT_BANK_CARD`: processed once more, towards the merchant's own bank account."""
        _require_number(OUT_REFUND_NO, out_refund_no)
        _require_number(OUT_REFUND_NO, refund_id)
        answer = await self._call(
            "abnormal_refund",
            out_refund_no,
            lambda: self._client.abnormal_refund(refund_id, out_refund_no, type="MERCHANT_BANK_CARD"),
        )
        require_success(answer)
        refund = _read("abnormal_refund", lambda: reading.refund(answer.document))
        if refund.out_refund_no != out_refund_no:
            raise Unavailable("wechat_pay abnormal_refund: the answer is about another refund")
        return refund

    async def bill(self, day: date) -> Bill:
        """All payments and refunds of a day of China; a day without any is an empty bill.

        `Unavailable` before 10:00 of the next day, while the gateway still makes it, and when the file does not hold.
        """
        if self._now() < bills.made_at(day):
            raise Unavailable("wechat_pay bill: made at 10:00 of the next day")
        answer = await self._call("bill", day.isoformat(), lambda: self._client.trade_bill(bill_date=day.isoformat()))
        if answer.code == "NO_STATEMENT_EXIST":
            return Bill(day)
        if answer.code == "STATEMENT_CREATING":
            raise Unavailable("wechat_pay bill: it is being made")
        require_success(answer)
        content = await self._download(day, _read("bill", lambda: reading.bill_address(answer.document)))
        named = {name: str(answer.document.get(name)) for name in ("hash_type", "hash_value")}
        config = self._config

        def understand() -> Bill:
            return bills.read(bills.unpack(content, **named), day, mchid=config.mchid, appid=config.appid)

        return await asyncio.to_thread(_read, "bill", understand)

    async def _download(self, day: date, address: str) -> bytes:
        """The file behind the address, which must be the gateway's own. It is not signed: the digest vouches for it."""
        if not address.startswith(f"{self._config.base_url.rstrip('/')}/"):
            raise Unavailable("wechat_pay bill: an address that is not the gateway's")
        content = b""

        async def fetch() -> tuple[int, str | bytes]:
            nonlocal content
            status, body = await self._client.download_bill(url=address)
            if status != 200:
                return status, body
            content = body.encode() if isinstance(body, str) else body
            return 204, b""

        answer = await call("download_bill", day.isoformat(), fetch, seconds=BILL_SECONDS)
        require_success(answer)
        return content

    def read_payment_notification(self, headers: Mapping[str, str], body: bytes) -> Transaction:
        """Verify, check the age (±300 s), decrypt and read a payment callback; `BadNotification` when it is not one.

        Merchant, application and currency are checked here; the amount must be compared with the order's.
        """
        content = open_notification(self._client, headers, body, event_types=PAYMENT_EVENTS, now=self._now())
        try:
            return reading.transaction(content, mchid=self._config.mchid, appid=self._config.appid)
        except ValueError as failure:
            raise BadNotification(str(failure)) from failure

    def read_refund_notification(self, headers: Mapping[str, str], body: bytes) -> Refund:
        """The same for a refund callback; the vendor tells no application and no currency in it."""
        content = open_notification(self._client, headers, body, event_types=REFUND_EVENTS, now=self._now())
        try:
            return reading.refund_event(content, mchid=self._config.mchid)
        except ValueError as failure:
            raise BadNotification(str(failure)) from failure

    async def _call(self, action: str, number: str, send: Callable[[], Awaitable[tuple[int, str | bytes]]]) -> Answer:
        return await call(action, number, send, seconds=self._config.timeout)

    def _jsapi_parameters(self, prepay_id: str) -> dict[str, str]:
        """Sign for `wx.requestPayment` (小程序调起支付); the front end's success callback proves nothing."""
        timestamp, nonce, package = str(int(self._now().timestamp())), secrets.token_hex(16), f"prepay_id={prepay_id}"
        return {
            "appId": self._config.appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self._client.sign([self._config.appid, timestamp, nonce, package]),
        }


def _require_number(pattern: re.Pattern[str], number: str) -> None:
    if not pattern.fullmatch(number):
        raise ValueError("not a number the gateway can take")


def _read(action: str, read: Callable[[], T]) -> T:
    """A signed answer that cannot be understood tells nothing: `Unavailable`, to be asked again."""
    try:
        return read()
    except ValueError as failure:
        raise Unavailable(f"wechat_pay {action}: {failure}") from failure
