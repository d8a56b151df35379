"""The API of WeChat Pay APIv3: every call is verified, every answer signed."""

import asyncio
import gzip
import hashlib
import json
import logging
import secrets
from typing import Any

from tornado.web import Finish, HTTPError, RequestHandler

from simulators.wechat_pay import bills, documents, fields
from simulators.wechat_pay.errors import Refused
from simulators.wechat_pay.gateway import Gateway
from simulators.wechat_pay.signing import signed_headers, verify_request
from simulators.wechat_pay.state import Refund

log = logging.getLogger(__name__)


class ApiHandler(RequestHandler):
    """Verifies, misbehaves as the switches say, and signs."""

    gateway: Gateway

    def initialize(self) -> None:
        """Take the gateway from the application's settings."""
        self.gateway = self.settings["gateway"]
        self._gone = asyncio.Event()

    def on_connection_close(self) -> None:
        """The caller hung up."""
        self._gone.set()

    async def prepare(self) -> None:
        """Faults that have no effect come before the signature is looked at."""
        state = self.gateway.state
        if state.take("hang_calls"):
            await self._hang()
        if state.take("unavailable_calls"):
            self._front_server_error()
        faults = state.take("error_calls")
        if faults:
            raise Refused(faults.error_code, "系统繁忙，请稍后重试")
        request = self.request
        if not request.headers.get("User-Agent") or "Accept" not in request.headers:
            raise Refused("PARAM_ERROR", "Http 头缺少 Accept 或 User-Agent")
        verify_request(
            self.gateway.keys,
            request.headers,
            request.method or "",
            request.uri or "",
            request.body,
            self.gateway.now(),
        )
        if request.method == "POST" and not request.headers.get("Content-Type", "").startswith("application/json"):
            raise Refused("PARAM_ERROR", "Content-Type 应为 application/json")

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent."""
        return fields.read_object(self.request.body)

    async def answer(self, document: dict[str, Any] | None) -> None:
        """200 with a document or 204 without, unless the answer is to be lost on its way."""
        if self.gateway.state.take("commit_then_hang_calls"):
            await self._hang()
        self._send(200 if document is not None else 204, document)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Refusals in the vendor's shape; what was not foreseen is `SYSTEM_ERROR`."""
        failure = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(failure, HTTPError):
            self._send(status_code, {"code": "RESOURCE_NOT_EXISTS", "message": "接口不存在"})
            return
        refused = failure if isinstance(failure, Refused) else Refused("SYSTEM_ERROR", "系统异常")
        self._send(refused.status, refused.document())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is an answer, not a fault of the program."""
        if not isinstance(value, Refused | HTTPError):
            log.error("%s %s", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def _send(self, status: int, document: dict[str, Any] | None) -> None:
        body = b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
        forged = self.gateway.state.faults().forge_answers
        self.set_status(status)
        for name, value in signed_headers(self.gateway.keys, body, self.gateway.now(), forged=forged).items():
            self.set_header(name, value)
        self.set_header("Request-ID", secrets.token_hex(16).upper())
        if document is not None:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.write(body)
        self.finish()

    def _front_server_error(self) -> None:
        """What stands before the gateway answers in its own words: HTML, unsigned."""
        self.set_status(503)
        self.set_header("Content-Type", "text/html")
        self.finish("<html><head><title>503 Service Temporarily Unavailable</title></head></html>")
        raise Finish

    async def _hang(self) -> None:
        """Say nothing until the caller gives up."""
        await self._gone.wait()
        raise Finish


class UnknownHandler(ApiHandler):
    """A path the gateway does not have: 404."""

    async def prepare(self) -> None:
        """Refuse, whatever the method."""
        raise Refused("RESOURCE_NOT_EXISTS", "接口不存在")


class OrdersHandler(ApiHandler):
    """POST /v3/pay/transactions/jsapi."""

    async def post(self) -> None:
        """Open an order."""
        wanted = fields.read_order(self.body(), self.gateway.keys, self.gateway.now())
        await self.answer({"prepay_id": self.gateway.bank.place(wanted)})


class OrderHandler(ApiHandler):
    """GET /v3/pay/transactions/out-trade-no/{out_trade_no}?mchid=."""

    async def get(self, out_trade_no: str) -> None:
        """The order by the merchant's number."""
        fields.require_merchant(self.get_query_argument("mchid", None), self.gateway.keys)
        order = self.gateway.bank.require(out_trade_no)
        await self.answer(documents.transaction(self.gateway.keys.mchid, order))


class TransactionHandler(ApiHandler):
    """GET /v3/pay/transactions/id/{transaction_id}?mchid=."""

    async def get(self, transaction_id: str) -> None:
        """The order by WeChat Pay's number."""
        fields.require_merchant(self.get_query_argument("mchid", None), self.gateway.keys)
        order = self.gateway.state.order_by_transaction(transaction_id)
        if order is None:
            raise Refused("ORDER_NOT_EXIST", "订单不存在")
        await self.answer(documents.transaction(self.gateway.keys.mchid, order))


class CloseHandler(ApiHandler):
    """POST /v3/pay/transactions/out-trade-no/{out_trade_no}/close."""

    async def post(self, out_trade_no: str) -> None:
        """Make the order unpayable."""
        fields.require_merchant(self.body().get("mchid"), self.gateway.keys)
        self.gateway.bank.close(out_trade_no)
        await self.answer(None)


class RefundsHandler(ApiHandler):
    """POST /v3/refund/domestic/refunds."""

    async def post(self) -> None:
        """Ask for a refund."""
        refund = self.gateway.bank.request_refund(fields.read_refund(self.body()))
        await self.answer(refund_document(self.gateway, refund))


class RefundHandler(ApiHandler):
    """GET /v3/refund/domestic/refunds/{out_refund_no}."""

    async def get(self, out_refund_no: str) -> None:
        """The refund by the merchant's number."""
        await self.answer(refund_document(self.gateway, self.gateway.bank.find_refund(out_refund_no)))


class AbnormalRefundHandler(ApiHandler):
    """POST /v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund."""

    async def post(self, refund_id: str) -> None:
        """Send an abnormal refund to another account."""
        body = self.body()
        refund = self.gateway.bank.apply_abnormal(refund_id, str(body.get("out_refund_no")), str(body.get("type")))
        await self.answer(refund_document(self.gateway, refund))


class TradeBillHandler(ApiHandler):
    """GET /v3/bill/tradebill?bill_date=&bill_type=ALL&tar_type=GZIP."""

    async def get(self) -> None:
        """The address of a day's bill and the digest of what is in it, out of its gzip."""
        gateway = self.gateway
        packed = fields.read_packing(self.get_query_argument("tar_type", None))
        fields.require_whole_bill(self.get_query_argument("bill_type", "ALL"))
        day = fields.read_bill_date(self.get_query_argument("bill_date", None), gateway.now())
        content = bills.bill(gateway.keys.mchid, gateway.state, day, gateway.now())
        token = gateway.shelf.put(gzip.compress(content) if packed else content)
        await self.answer(
            {
                "hash_type": "SHA1",
                "hash_value": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                "download_url": f"{self.request.protocol}://{self.request.host}/v3/billdownload/file?token={token}",
            }
        )


class BillFileHandler(ApiHandler):
    """GET /v3/billdownload/file?token=."""

    async def get(self) -> None:
        """The file, without a signature: its digest was signed."""
        content = self.gateway.shelf.get(self.get_query_argument("token", ""))
        if content is None:
            raise Refused("RESOURCE_NOT_EXISTS", "下载地址不存在或已失效")
        if self.gateway.state.faults().spoilt_bills:
            content = content[:-1]
        self.set_header("Content-Type", "application/x-gzip" if content[:2] == b"\x1f\x8b" else "text/plain")
        self.finish(content)


class CertificatesHandler(ApiHandler):
    """GET /v3/certificates."""

    async def get(self) -> None:
        """Merchants that verify with the public key have none."""
        raise Refused("RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥")


class EchoHandler(ApiHandler):
    """POST /v3/security/echo."""

    async def post(self) -> None:
        """The merchant's test of its own signing: what was sent comes back."""
        await self.answer(self.body())


def refund_document(gateway: Gateway, refund: Refund) -> dict[str, Any]:
    """The refund with what it tells of its order."""
    return documents.refund(refund, gateway.bank.order_of(refund))


ROUTES = [
    (r"/v3/pay/transactions/jsapi", OrdersHandler),
    (r"/v3/pay/transactions/out-trade-no/([^/]+)", OrderHandler),
    (r"/v3/pay/transactions/out-trade-no/([^/]+)/close", CloseHandler),
    (r"/v3/pay/transactions/id/([^/]+)", TransactionHandler),
    (r"/v3/refund/domestic/refunds", RefundsHandler),
    (r"/v3/refund/domestic/refunds/([^/]+)", RefundHandler),
    (r"/v3/refund/domestic/refunds/([^/]+)/apply-abnormal-refund", AbnormalRefundHandler),
    (r"/v3/bill/tradebill", TradeBillHandler),
    (r"/v3/billdownload/file", BillFileHandler),
    (r"/v3/certificates", CertificatesHandler),
    (r"/v3/security/echo", EchoHandler),
]
