"""The money side of the gateway: orders, payments and refunds, and the events each change is told by.

Each public method is one transaction, so that the change and its notification are kept together or not at all.
"""

import json
import secrets
from collections.abc import Callable
from datetime import datetime

from simulators.wechat_pay import documents
from simulators.wechat_pay.errors import Refused, bad_field
from simulators.wechat_pay.fields import OrderFields, RefundFields
from simulators.wechat_pay.keys import Keys
from simulators.wechat_pay.state import Notification, Order, Refund, State

PAYABLE = frozenset({"NOTPAY", "PAYERROR"})
MAXIMUM_REFUNDS = 50
REFUND_PERIOD = 365 * 86400
REFUND_SUMMARIES = {"SUCCESS": "退款成功", "ABNORMAL": "退款异常", "CLOSED": "退款关闭"}


class Bank:
    """Keeps the rules of §3.2 and §3.6 over a `State`; `changed` is called when a notification or refund waits."""

    def __init__(self, keys: Keys, state: State, now: Callable[[], float], changed: Callable[[], None]) -> None:
        self._keys = keys
        self._state = state
        self._now = now
        self._changed = changed

    # --- orders

    def place(self, wanted: OrderFields) -> str:
        """Open an order, or find the same one again; answers its `prepay_id`. The first request decides."""
        order = self.find(wanted.out_trade_no)
        if order is None:
            prepay_id = f"wx{self._digits(14)}{secrets.token_hex(10)}"
            order = Order(**vars(wanted), prepay_id=prepay_id, state="NOTPAY", created_at=self._now())
            self._state.save(order)
            return prepay_id
        for name in ("appid", "description", "attach", "total", "openid"):
            if getattr(order, name) != getattr(wanted, name):
                raise Refused("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        if order.state == "CLOSED":
            raise Refused("ORDER_CLOSED", "订单已关闭")
        if order.transaction_id is not None:
            raise Refused("ORDERPAID", "该订单已支付")
        return order.prepay_id

    def find(self, out_trade_no: str) -> Order | None:
        """The order as it stands now: unpaid past its time is closed."""
        order = self._state.order(out_trade_no)
        if order and order.state in PAYABLE and order.time_expire <= self._now():
            order.state = "CLOSED"
        return order

    def require(self, out_trade_no: str) -> Order:
        """The order, or `ORDER_NOT_EXIST`."""
        order = self.find(out_trade_no)
        if order is None:
            raise Refused("ORDER_NOT_EXIST", "订单不存在")
        return order

    def close(self, out_trade_no: str) -> None:
        """Make it unpayable; again is fine, paid is `ORDERPAID`."""
        order = self.require(out_trade_no)
        if order.transaction_id is not None:
            raise Refused("ORDERPAID", "该订单已支付")
        order.state = "CLOSED"
        self._state.save(order)

    def pay(self, out_trade_no: str, openid: str | None = None) -> Order:
        """The user pays; somebody else's order is `OPENID_MISMATCH`."""
        order = self._require_payable(out_trade_no)
        if openid not in (None, order.openid):
            raise Refused("OPENID_MISMATCH", "支付用户与下单用户不一致")
        order.state, order.paid_at = "SUCCESS", self._now()
        order.transaction_id = f"4200{self._digits(24)}"
        with self._state.transaction():
            self._state.save(order)
            self._tell("TRANSACTION.SUCCESS", "transaction", out_trade_no, "支付成功", order.notify_url, order)
        self._changed()
        return order

    def fail(self, out_trade_no: str) -> Order:
        """The user's bank refuses; the order may still be paid."""
        order = self._require_payable(out_trade_no)
        order.state = "PAYERROR"
        self._state.save(order)
        return order

    def _require_payable(self, out_trade_no: str) -> Order:
        order = self.require(out_trade_no)
        if order.transaction_id is not None:
            raise Refused("ORDERPAID", "该订单已支付")
        if order.state not in PAYABLE:
            raise Refused("ORDER_CLOSED", "订单已关闭")
        return order

    # --- refunds

    def request_refund(self, wanted: RefundFields) -> Refund:
        """Accept a refund, or find the same one again."""
        order = self._paid_order(wanted)
        refund = self._state.refund(wanted.out_refund_no)
        if refund is not None:
            if (refund.out_trade_no, refund.amount, order.total) != (order.out_trade_no, wanted.amount, wanted.total):
                raise Refused("INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
            return refund
        self._require_refundable(order, wanted)
        faults, now = self._state.faults(), self._now()
        refund = Refund(
            out_refund_no=wanted.out_refund_no,
            refund_id=f"5030{self._digits(25)}",
            out_trade_no=order.out_trade_no,
            amount=wanted.amount,
            reason=wanted.reason,
            notify_url=wanted.notify_url,
            status="PROCESSING",
            reapplied=0,
            created_at=now,
            settle_at=None if faults.hold_refunds else now + faults.refund_delay,
        )
        order.state = "REFUND"
        with self._state.transaction():
            self._state.save(order, refund)
        self._changed()
        return refund

    def find_refund(self, out_refund_no: str) -> Refund:
        """The refund, or `RESOURCE_NOT_EXISTS`."""
        refund = self._state.refund(out_refund_no)
        if refund is None:
            raise Refused("RESOURCE_NOT_EXISTS", "退款单不存在")
        return refund

    def order_of(self, refund: Refund) -> Order:
        """The order a refund gives back; it always exists."""
        order = self._state.order(refund.out_trade_no)
        if order is None:
            raise LookupError(refund.out_trade_no)
        return order

    def apply_abnormal(self, refund_id: str, out_refund_no: str, kind: str) -> Refund:
        """Send an abnormal refund to another account (异常退款): it is processed once more."""
        refund = self.find_refund(out_refund_no)
        if refund.refund_id != refund_id:
            raise Refused("RESOURCE_NOT_EXISTS", "退款单不存在")
        if kind not in ("USER_BANK_CARD", "MERCHANT_BANK_CARD"):
            raise bad_field("/type", "应为 USER_BANK_CARD 或 MERCHANT_BANK_CARD")
        if refund.status != "ABNORMAL":
            raise Refused("INVALID_REQUEST", "退款单不是异常状态")
        faults = self._state.faults()
        refund.status, refund.reapplied = "PROCESSING", 1
        refund.settle_at = None if faults.hold_refunds else self._now() + faults.refund_delay
        self._state.save(refund)
        self._changed()
        return refund

    def settle(self, out_refund_no: str, status: str | None = None) -> Refund:
        """End a refund: as told, or as the switches say. One that has ended is `INVALID_REQUEST`."""
        refund = self.find_refund(out_refund_no)
        if refund.status != "PROCESSING":
            raise Refused("INVALID_REQUEST", "退款单已完结")
        abnormal = self._state.faults().abnormal_refunds and not refund.reapplied
        refund.status = status or ("ABNORMAL" if abnormal else "SUCCESS")
        refund.settle_at = None
        if refund.status == "SUCCESS":
            refund.succeeded_at = self._now()
        with self._state.transaction():
            self._state.save(refund)
            if refund.notify_url is not None:
                summary = REFUND_SUMMARIES[refund.status]
                self._tell(f"REFUND.{refund.status}", "refund", out_refund_no, summary, refund.notify_url, refund)
        self._changed()
        return refund

    def settle_due(self) -> None:
        """End the refunds whose time has come."""
        for refund in self._state.refunds_to_settle(self._now()):
            self.settle(refund.out_refund_no)

    def _paid_order(self, wanted: RefundFields) -> Order:
        if wanted.transaction_id is not None:
            order = self._state.order_by_transaction(wanted.transaction_id)
        else:
            order = self._state.order(wanted.out_trade_no or "")
        if order is None:
            raise Refused("RESOURCE_NOT_EXISTS", "订单不存在")
        if order.paid_at is None:
            raise Refused("INVALID_REQUEST", "订单未支付")
        return order

    def _require_refundable(self, order: Order, wanted: RefundFields) -> None:
        earlier = [refund for refund in self._state.refunds(order.out_trade_no) if refund.status != "CLOSED"]
        now, gap = self._now(), self._state.faults().partial_refund_gap
        if wanted.total != order.total:
            raise Refused("INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
        if wanted.amount + sum(refund.amount for refund in earlier) > order.total:
            raise Refused("INVALID_REQUEST", "申请退款金额大于订单可退金额")
        if len(earlier) >= MAXIMUM_REFUNDS:
            raise Refused("INVALID_REQUEST", "部分退款次数超过限制")
        if order.paid_at is not None and now > order.paid_at + REFUND_PERIOD:
            raise Refused("INVALID_REQUEST", "订单已超过可退款的最大期限")
        if earlier and now < earlier[-1].created_at + gap:
            raise Refused("FREQUENCY_LIMITED", "多次部分退款请间隔 1 分钟后再试")

    # --- what is told

    def ledger(self) -> dict[str, dict[str, int]]:
        """What each order holds, in fen: paid, given back (refunds that succeeded) and the rest."""
        accounts = {}
        for order in self._state.orders():
            refunds = self._state.refunds(order.out_trade_no)
            paid = order.total if order.paid_at is not None else 0
            refunded = sum(refund.amount for refund in refunds if refund.status == "SUCCESS")
            accounts[order.out_trade_no] = {"paid": paid, "refunded": refunded, "held": paid - refunded}
        return accounts

    def _tell(
        self, event_type: str, original_type: str, subject: str, summary: str, url: str, about: Order | Refund
    ) -> None:
        if isinstance(about, Order):
            content = documents.transaction(self._keys.mchid, about)
        else:
            content = documents.refund_event(self._keys.mchid, about, self.order_of(about))
        faults, now = self._state.faults(), self._now()
        event_id = f"EV-{self._digits(32)}"
        kinds = ["probe"] * faults.signtest_probe + ["event"] * (1 + faults.notify_duplicates)
        for kind in kinds:
            self._state.save(
                Notification(
                    event_id=event_id,
                    kind=kind,
                    event_type=event_type,
                    original_type=original_type,
                    subject=subject,
                    summary=summary,
                    url=url,
                    content=json.dumps(content, ensure_ascii=False),
                    created_at=now,
                    state="dropped" if faults.drop_notifications else "pending",
                    attempts=0,
                    next_at=None if faults.drop_notifications else now + faults.notify_delay,
                )
            )

    def _digits(self, count: int) -> str:
        """`count` digits that begin with the moment, as the vendor's own numbers do."""
        moment = datetime.fromtimestamp(self._now(), documents.CHINA).strftime("%Y%m%d%H%M%S")
        return moment + "".join(secrets.choice("0123456789") for _ in range(count - len(moment)))
