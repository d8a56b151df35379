"""What orders owe, and what visits owe to their order. Each is safe to repeat."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from core.auth import SYSTEM
from core.jobs import DutyFunction
from core.orders import rules, service
from core.outbox import Later
from core.ports import RefundRequest, RefundState, Rejected, Unavailable
from storage.orders import Order
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()


async def open_for_visit(ctx: "Context", visit: Visit) -> None:
    """The order a new visit is to be paid by, under the id that the visit already carries."""
    if visit["order_id"] is None:
        return
    now = visit["created_at"]
    await ctx.orders.add(
        {
            "_id": visit["order_id"],
            "kind": "visit_fee",
            "status": "pending",
            "version": 1,
            "account_id": visit["patient_account"],
            "doctor_id": visit["doctor_id"],
            "subject_id": visit["_id"],
            "description": "互联网医院图文咨询费",
            "amount": visit["fee"],
            "payment_requested_at": None,
            "transaction_id": None,
            "paid_at": None,
            "refund": None,
            "expires_at": visit["deadline_at"] or now,
            "deadline_at": None,
            "created_at": now,
            "updated_at": now,
            "retain_until": visit["retain_until"],
            "history": [],
            "duties": [],
        }
    )


async def settle_for_visit(ctx: "Context", visit: Visit) -> None:
    """A visit has ended in a way that ends its order: unpaid it is closed, paid it is given back."""
    if visit["order_id"] is not None:
        await service.settle(ctx, visit["order_id"], by=SYSTEM, reason=visit["reason"] or visit["status"])


async def close(ctx: "Context", order: Order) -> None:
    """Make the gateway refuse late payers; if somebody was faster, the money goes back."""
    if order["payment_requested_at"] is None:
        return  # the gateway has never heard of it
    await service.close_payment(ctx, order)


async def query_payment(ctx: "Context", order: Order) -> None:
    """Ask for a payment nobody notified, on the gateway's schedule, until the order is no longer pending.

    A deadline and not a duty: what a paid order owes must not wait in line behind the next question.
    """
    opened_at = order["payment_requested_at"]
    if order["status"] != "pending" or opened_at is None:
        return
    try:
        if await service.follow_gateway(ctx, order):
            return
    except Unavailable:
        log.warning("payment.query_unanswered", order=order["_id"])
    now = ctx.clock.now()
    again = now + timedelta(seconds=rules.next_query_in(opened_at, now))
    await ctx.orders.note(order["_id"], deadline_at=again, where={"status": "pending"})


async def refund(ctx: "Context", order: Order) -> None:
    """Give the money back under the refund's own number, and follow it until the gateway says it has arrived.

    `ABNORMAL` and `CLOSED` are not mended by trying again: the duty is left to a person.
    """
    wanted = order["refund"]
    if order["status"] != "refunding" or wanted is None:
        return
    known = await ctx.payment.query_refund(wanted["out_refund_no"])
    if known is None:
        known = await ctx.payment.refund(
            RefundRequest(
                out_trade_no=order["_id"],
                out_refund_no=wanted["out_refund_no"],
                amount=wanted["amount"],
                total=order["amount"],
                reason=rules.REFUND_SAID,
            )
        )
    await service.record_refund(ctx, known)
    if known.state is RefundState.PROCESSING:
        raise Later(rules.REFUND_QUERY_SECONDS)
    if known.state is not RefundState.SUCCESS:
        raise Rejected(str(known.state))


DUTIES: Final[dict[str, DutyFunction]] = {
    "visit.open_order": open_for_visit,
    "visit.settle_order": settle_for_visit,
    "order.close": close,
    "order.refund": refund,
}
DEADLINES: Final[dict[str, DutyFunction]] = {"orders": query_payment}
