"""The doors of the cashier's office."""

from typing import Any, Final

from core.cashier import schemas, service
from core.http import ApiHandler, endpoint
from core.wire import page, page_of

ADMIN: Final = frozenset({"admin"})


class ReconciliationsHandler(ApiHandler):
    """Days compared with the gateway's bill."""

    @endpoint(roles=ADMIN, summary="对账结果列表", query=schemas.DaysQuery(), answer=page_of(schemas.ReconciledDay))
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest day first, each with both sides' totals and how many differences there are."""
        return page(await service.days(self.ctx, **query), query["limit"])


class ReconciliationHandler(ApiHandler):
    """One day compared with the gateway's bill."""

    @endpoint(roles=ADMIN, summary="某日对账结果", answer=schemas.ReconciliationView(), errors=("not_found",))
    async def get(self, day: str) -> Any:
        """The last comparison with each difference to the fen, and all comparisons made."""
        return await service.require_day(self.ctx, day)

    @endpoint(
        roles=ADMIN,
        summary="立即对账",
        answer=schemas.ReconciliationView(),
        errors=("not_found", "invalid", "in_progress", "unavailable"),
    )
    async def post(self, day: str) -> Any:
        """Compare the day now; 503 until the gateway has made its bill, at 10:00 of the next day in China."""
        return await service.reconcile_by_hand(self.ctx, caller=self.caller, day=day)


class RefundsHandler(ApiHandler):
    """Orders whose money is on its way back."""

    @endpoint(roles=ADMIN, summary="待处理退款", query=schemas.RefundsQuery(), answer=page_of(schemas.OfficeOrderView))
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest order first, with the numbers under which the gateway knows it."""
        return page(await service.refunds(self.ctx, **query), query["limit"])


class RetryHandler(ApiHandler):
    """A refund that stands still."""

    @endpoint(
        roles=ADMIN,
        summary="重试退款",
        body=schemas.RetryRefund(),
        answer=schemas.OfficeOrderView(),
        errors=("not_found", "wrong_state", "conflict", "elevation_required", "unavailable"),
    )
    async def post(self, order_id: str, body: dict[str, Any]) -> Any:
        """Try again what was given up, once the hospital has settled its cause; never a second refund."""
        return await service.retry_refund(self.ctx, caller=self.caller, order_id=order_id, **body)


ROUTES = [
    (r"/api/v1/admin/reconciliation", ReconciliationsHandler),
    (r"/api/v1/admin/reconciliation/(\d{4}-\d{2}-\d{2})", ReconciliationHandler),
    (r"/api/v1/admin/orders", RefundsHandler),
    (r"/api/v1/admin/orders/(\w+)/refund/retry", RetryHandler),
]
