"""The cashier's office: a day's money compared with the gateway's bill (X1.2), and refunds that stand still.

Comparing changes no order: what differs is shown, logged and counted, and a person decides.
"""

import asyncio
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from core import metrics, outbox
from core.accounts import elevation
from core.auth import Actor, Caller
from core.cashier import rules
from core.errors import Conflict, Invalid, NotFound, ServiceUnavailable, WrongState
from core.ids import china_today, new_id
from core.orders import service as orders
from core.ports import Bill, RefundState, Rejected
from storage.orders import Order
from storage.reconciliations import Reconciliation, Run

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# A run that takes longer has died; another may begin.
LEASE: Final = timedelta(minutes=10)
# More differences than this in one day are one fault, not many; all are counted.
LISTED: Final = 1_000
REFUND: Final = "order.refund"


async def days(ctx: "Context", *, limit: int, cursor: str | None) -> list[Reconciliation]:
    """Compared days, newest first, one more than `limit` when there are more."""
    return await ctx.reconciliations.page(before=cursor, limit=limit + 1)


async def require_day(ctx: "Context", day: str) -> Reconciliation:
    """The last comparison of a day; `NotFound` when there was none."""
    found = await ctx.reconciliations.get(day)
    if found is None:
        raise NotFound
    return found


async def reconcile_by_hand(ctx: "Context", *, caller: Caller, day: str) -> Reconciliation:
    """Compare a day now; `NotFound` for what is no day, `Invalid` for one that has no bill, now or any more."""
    try:
        wanted = date.fromisoformat(day)
    except ValueError as error:
        raise NotFound from error
    today = china_today(ctx.clock)
    if wanted > today or wanted < today - rules.OLDEST_BILL:
        raise Invalid.field("day", "只能核对最近三个月内的日期")
    return await reconcile(ctx, wanted, by=caller.actor)


async def reconcile(ctx: "Context", day: date, *, by: Actor) -> Reconciliation:
    """Compare every payment and refund of the day with our orders and keep the result as the day's next version.

    `in_progress` while another run compares the day, `unavailable` when its bill is not to be had: an earlier result
    then stays as it is.
    """
    name, now, token = day.isoformat(), ctx.clock.now(), new_id()
    version = await ctx.reconciliations.begin(name, token=token, now=now, until=now + LEASE)
    if version is None:
        raise Conflict(code="in_progress", retry_after=10)
    try:
        found = await _compare(ctx, await ctx.payment.bill(day))
    except Rejected as error:
        await ctx.reconciliations.give_up(name, token=token)
        log.error("reconciliation.bill_refused", day=name, code=error.code)
        raise ServiceUnavailable("暂时无法取得微信支付账单，请稍后再试") from error
    except BaseException:
        await ctx.reconciliations.give_up(name, token=token)
        raise
    run = Run(
        version=version + 1,
        at=ctx.clock.now(),
        by=by.id,
        ours=found.ours,
        theirs=found.theirs,
        differences=len(found.differences),
    )
    listed = found.differences[:LISTED]
    if not await ctx.reconciliations.finish(name, token=token, run=run, differences=listed):
        raise Conflict(code="in_progress", retry_after=10)
    _report(name, run, found)
    return await require_day(ctx, name)


async def _compare(ctx: "Context", bill: Bill) -> rules.Comparison:
    """Our orders are read after the bill, so that nothing it names can be too new for us."""
    span = rules.span_of(bill.day)
    concerned: dict[str, Order] = {}
    for found in (
        await ctx.orders.paid_between(span.begin, span.end),
        await ctx.orders.refunds_between(span.begin, span.end),
    ):
        concerned.update({order["_id"]: order for order in found})
    named_there = {row.out_trade_no for row in bill.payments} | {row.out_trade_no for row in bill.refunds}
    for named in named_there - concerned.keys():
        order = await orders.get(ctx, named)
        if order is not None:
            concerned[named] = order
    of_other_days = set()
    for refund in rules.unbilled_refunds(bill, concerned.values()):
        # Begun shortly before midnight, or while the gateway was away: it may stand in the bill of a later day.
        known = await ctx.payment.query_refund(refund["out_refund_no"])
        if known is not None and known.accepted_at is not None and not span.holds(known.accepted_at):
            of_other_days.add(refund["out_refund_no"])
    return await asyncio.to_thread(rules.compare, bill, concerned, of_other_days=of_other_days)


def _report(day: str, run: Run, found: rules.Comparison) -> None:
    for one in found.differences:
        metrics.RECONCILIATION_DIFFERENCES.labels(one["kind"]).inc()
    for one in found.differences[:LISTED]:
        log.error(
            "reconciliation.difference",
            day=day,
            kind=one["kind"],
            order=one["order_id"],
            ours=one["our_amount"],
            theirs=one["their_amount"],
        )
    report = log.error if found.differences else log.info
    report("reconciliation.done", day=day, version=run["version"], differences=run["differences"])


async def refunds(ctx: "Context", *, limit: int, cursor: str | None, refund: str) -> list[dict[str, Any]]:
    """Refunds that have not arrived, newest order first, one more than `limit` when there are more."""
    states = rules.FAILED_STATES if refund == "abnormal" else ()
    found = await ctx.orders.page_of_refunds(before=cursor, limit=limit + 1, states=states, dead=refund == "stopped")
    return [_office_view(order) for order in found]


async def retry_refund(ctx: "Context", *, caller: Caller, order_id: str, reason: str, to: str) -> dict[str, Any]:
    """Let a refund that was given up be worked on again; the order as it stands after the first try.

    The same number is asked for again, unless the gateway has closed it: then, and only then, it gets a new one, so
    that the money cannot go back twice. `WrongState` when it was not given up; needs a fresh proof (R6-4).
    """
    await elevation.require(ctx, caller)
    order = await orders.get(ctx, order_id)
    if order is None:
        raise NotFound
    refund = order["refund"]
    stopped = next((one for one in order["duties"] if one["kind"] == REFUND and one["state"] == "dead"), None)
    if order["status"] != "refunding" or refund is None or stopped is None:
        raise WrongState
    if to == "hospital" and (refund["state"] != RefundState.ABNORMAL or refund["refund_id"] is None):
        raise WrongState("只有异常退款才能退至医院账户")
    changes: dict[str, Any] = {}
    if refund["state"] == RefundState.CLOSED and await _is_closed(ctx, refund["out_refund_no"]):
        renewed = rules.next_refund_number(order_id, refund["out_refund_no"])
        changes = {"refund.out_refund_no": renewed, "refund.state": None, "refund.refund_id": None}
    now = ctx.clock.now()
    act = "refund_to_hospital" if to == "hospital" else "refund_retry"
    noted = await ctx.orders.note(
        order_id,
        entry=outbox.entry(caller.actor, act, frm="refunding", to="refunding", at=now, reason=reason),
        set=changes,
        where={"status": "refunding", "version": order["version"]},
    )
    if noted is None:
        raise Conflict
    if to == "hospital" and refund["refund_id"] is not None:
        await _pay_out_to_hospital(ctx, order_id, refund["refund_id"], refund["out_refund_no"])
    await ctx.orders.revive(order_id, stopped["key"], at=now)
    await ctx.duties.run_now("orders", order_id)
    return _office_view(cast("Order", await ctx.orders.get(order_id)))


async def _is_closed(ctx: "Context", number: str) -> bool:
    known = await ctx.payment.query_refund(number)
    return known is not None and known.state is RefundState.CLOSED


async def _pay_out_to_hospital(ctx: "Context", order_id: str, refund_id: str, number: str) -> None:
    try:
        await orders.record_refund(ctx, await ctx.payment.refund_to_merchant(refund_id, number))
    except Rejected as error:
        log.warning("refund.not_paid_out", order=order_id, code=error.code)
        raise WrongState("微信支付拒绝了此项操作，请在商户平台核实") from error


def _office_view(order: Order) -> dict[str, Any]:
    return {**order, "stopped": [one for one in order["duties"] if one["state"] == "dead"]}
