"""REST of orders and the gateway's callbacks."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import structlog

from core import metrics
from core.auth import ANYONE, PATIENT
from core.http import ApiHandler, endpoint
from core.orders import service
from core.orders.schemas import OpenPayment, OrderDetail, OrderQuery, OrderView, PaymentParameters
from core.ports import BadNotification
from core.wire import page, page_of

log = structlog.get_logger()

# WeChat Pay gives a callback five seconds; what takes longer is repeated and then finds the work done.
NOTIFICATION_SECONDS: Final = 4.5
# What the gateway takes for "once more, please"; it reads no problem details.
_FAILED: Final[Mapping[str, Any]] = {
    "description": "unauthenticated",
    "content": {"application/json": {"schema": {"type": "object", "required": ["code", "message"]}}},
}
REPEATED: Final[Mapping[int, Mapping[str, Any]]] = {401: _FAILED, 503: {**_FAILED, "description": "unavailable"}}


class OrdersHandler(ApiHandler):
    """The caller's orders."""

    @endpoint(roles=PATIENT, summary="我的订单", query=OrderQuery(), answer=page_of(OrderView))
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first, by status where asked."""
        return page(await service.list_own(self.ctx, caller=self.caller, **query), query["limit"])


class OrderHandler(ApiHandler):
    """One order."""

    @endpoint(roles=PATIENT, summary="订单详情", answer=OrderDetail(), errors=("not_found",))
    async def get(self, order_id: str) -> Any:
        """With every change of state; another account's order is not found."""
        return await service.require_own(self.ctx, self.caller, order_id)


class PaymentHandler(ApiHandler):
    """Paying an order."""

    @endpoint(
        roles=PATIENT,
        summary="发起支付",
        body=OpenPayment(),
        answer=PaymentParameters(),
        idempotent=True,
        errors=("not_found", "wrong_state", "wechat_required", "already_paid", "unavailable"),
    )
    async def post(self, order_id: str, body: dict[str, Any]) -> Any:
        """Open the payment at the gateway; the state of the order changes only by the gateway's word."""
        return await service.pay(self.ctx, caller=self.caller, order_id=order_id, login_code=body["login_code"])


class NotificationHandler(ApiHandler):
    """Callbacks of WeChat Pay: 204 when taken, 4xx or 5xx with `{"code":"FAIL"}` to have them repeated."""

    subject: ClassVar[str]

    async def take(self, work: Any) -> None:
        """Run `work` and answer in the gateway's own way within its five seconds."""
        outcome = "failed"
        try:
            await asyncio.wait_for(work, NOTIFICATION_SECONDS)
        except BadNotification as error:
            outcome = "bad"
            log.warning("payment.bad_notification", request=self.request_id, why=str(error))
            self._fail(401)
        except TimeoutError:
            outcome = "slow"
            log.warning("payment.notification_slow", request=self.request_id)
            self._fail(503)
        else:
            outcome = "taken"
            self.set_status(204)
            self.finish()
        finally:
            metrics.NOTIFICATIONS.labels(self.subject, outcome).inc()

    def _fail(self, status: int) -> None:
        self.set_status(status)
        self.write_json({"code": "FAIL", "message": "失败"})


class PaymentNotificationHandler(NotificationHandler):
    """Payments."""

    subject = "payment"

    @endpoint(roles=ANYONE, summary="微信支付通知", reads="*/*", responses=REPEATED, status=204)
    async def post(self) -> None:
        """Verified by signature, age, merchant and amount; repeats change nothing."""
        await self.take(service.take_payment_notification(self.ctx, self.request.headers, bytes(self.body)))


class RefundNotificationHandler(NotificationHandler):
    """Refunds."""

    subject = "refund"

    @endpoint(roles=ANYONE, summary="微信退款通知", reads="*/*", responses=REPEATED, status=204)
    async def post(self) -> None:
        """Verified the same way."""
        await self.take(service.take_refund_notification(self.ctx, self.request.headers, bytes(self.body)))


ROUTES = [
    (r"/api/v1/orders", OrdersHandler),
    (r"/api/v1/orders/(\w+)", OrderHandler),
    (r"/api/v1/orders/(\w+)/payment", PaymentHandler),
    (r"/api/v1/notify/wechat-pay", PaymentNotificationHandler),
    (r"/api/v1/notify/wechat-refund", RefundNotificationHandler),
]
