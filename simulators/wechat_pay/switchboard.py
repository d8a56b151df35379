"""The `/_control/…` pages: the user's part, the bank's part and the faults; listed in the package's docstring."""

from dataclasses import asdict
from typing import Any

from tornado.web import HTTPError

from simulators.control import ControlHandler
from simulators.wechat_pay import documents
from simulators.wechat_pay.errors import STATUS, Refused
from simulators.wechat_pay.gateway import Gateway
from simulators.wechat_pay.handlers import refund_document
from simulators.wechat_pay.state import Order

SETTLED = frozenset({"SUCCESS", "ABNORMAL", "CLOSED"})


class Page(ControlHandler):
    """A control page of this gateway; what the gateway refuses is a 404 (unknown) or a 409 with its code."""

    gateway: Gateway

    def initialize(self) -> None:
        """Take the gateway from the application's settings."""
        self.gateway = self.settings["gateway"]

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show the gateway's own code where there is one."""
        failure = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(failure, Refused):
            self.reply({"error": failure.code, "message": failure.message}, 404 if failure.status == 404 else 409)
        else:
            super().write_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is an answer, not a fault of the program."""
        if not isinstance(value, Refused):
            super().log_exception(typ, value, tb)

    def order(self, order: Order) -> dict[str, Any]:
        """The transaction object with its refunds and what is needed to act as the user."""
        refunds = [refund_document(self.gateway, refund) for refund in self.gateway.state.refunds(order.out_trade_no)]
        return documents.transaction(self.gateway.keys.mchid, order) | {
            "total": order.total,
            "openid": order.openid,
            "description": order.description,
            "prepay_id": order.prepay_id,
            "time_expire": documents.rfc3339(order.time_expire),
            "refunds": refunds,
        }


class PayPage(Page):
    """POST /_control/pay/{out_trade_no}."""

    def post(self, out_trade_no: str) -> None:
        """Pay as the user would."""
        openid = self.body().get("openid")
        self.reply(self.order(self.gateway.bank.pay(out_trade_no, openid)))


class FailPage(Page):
    """POST /_control/fail/{out_trade_no}."""

    def post(self, out_trade_no: str) -> None:
        """The user's bank refuses."""
        self.reply(self.order(self.gateway.bank.fail(out_trade_no)))


class OrdersPage(Page):
    """GET /_control/orders."""

    def get(self) -> None:
        """All orders with their refunds."""
        found = [self.gateway.bank.find(order.out_trade_no) for order in self.gateway.state.orders()]
        self.reply([self.order(order) for order in found if order is not None])


class SettlePage(Page):
    """POST /_control/refund/{out_refund_no}/settle."""

    def post(self, out_refund_no: str) -> None:
        """End a refund that is PROCESSING."""
        status = self.body().get("status")
        if status is not None and status not in SETTLED:
            raise HTTPError(400, reason="status takes SUCCESS, ABNORMAL or CLOSED")
        self.reply(refund_document(self.gateway, self.gateway.bank.settle(out_refund_no, status)))


class FaultsPage(Page):
    """GET and POST /_control/faults."""

    def get(self) -> None:
        """The switches."""
        self.reply(self.gateway.state.faults().document())

    def post(self) -> None:
        """Set some of them; the others stay."""
        try:
            faults = self.gateway.state.faults().changed(self.body())
        except ValueError as failure:
            raise HTTPError(400, reason=str(failure).replace("\n", " ")) from failure
        if faults.error_code not in STATUS:
            raise HTTPError(400, reason="no such error_code")
        self.gateway.state.set_faults(faults)
        self.reply(faults.document())


class NotificationsPage(Page):
    """GET /_control/notifications."""

    def get(self) -> None:
        """Each message with its tries, without what it tells."""
        shown = [asdict(notification) for notification in self.gateway.state.notifications()]
        for notification in shown:
            del notification["content"]
        self.reply(shown)


class LedgerPage(Page):
    """GET /_control/ledger."""

    def get(self) -> None:
        """The money the merchant holds, by order and in all."""
        orders = self.gateway.bank.ledger()
        self.reply({"orders": orders, "held": sum(account["held"] for account in orders.values())})


class ResetPage(Page):
    """POST /_control/reset."""

    async def post(self) -> None:
        """Forget everything but the keys."""
        await self.gateway.reset()
        self.reply({})


ROUTES = [
    (r"/_control/pay/([^/]+)", PayPage),
    (r"/_control/fail/([^/]+)", FailPage),
    (r"/_control/orders", OrdersPage),
    (r"/_control/refund/([^/]+)/settle", SettlePage),
    (r"/_control/faults", FaultsPage),
    (r"/_control/notifications", NotificationsPage),
    (r"/_control/ledger", LedgerPage),
    (r"/_control/reset", ResetPage),
]
