"""Orders: opened by what they pay for, paid and refunded only on the gateway's verified word.

Every change is stored by compare-and-set before the gateway is asked, and asking is a duty, repeated under the same
numbers until the gateway has answered. So a repeated, late or lost notification ends in the same state.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import structlog

from core import events, outbox
from core.auth import GATEWAY, Actor, Caller
from core.errors import Conflict, Invalid, NotFound, ServiceUnavailable, WrongState
from core.orders import rules
from core.ports import (
    AlreadyPaid,
    BadNotification,
    PaymentRequest,
    Refund,
    RefundState,
    Rejected,
    TradeState,
    Transaction,
    Unavailable,
)
from storage.moves import duty
from storage.orders import Order

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()


async def require_own(ctx: "Context", caller: Caller, order_id: str) -> Order:
    """The caller's order; anybody else's is `NotFound`."""
    order = await get(ctx, order_id)
    if order is None or order["account_id"] != caller.id:
        raise NotFound
    return order


async def get(ctx: "Context", order_id: str) -> Order | None:
    """An order by its id."""
    return cast("Order | None", await ctx.orders.get(order_id))


async def list_own(
    ctx: "Context", *, caller: Caller, limit: int, cursor: str | None, status: str | None
) -> list[Order]:
    """The caller's orders, newest first, one more than `limit` when there are more."""
    return await ctx.orders.page(caller.id, before=cursor, limit=limit + 1, status=status)


async def pay(ctx: "Context", *, caller: Caller, order_id: str, login_code: str | None) -> dict[str, Any]:
    """Open the payment for whoever holds the phone: by the login code where one is given, else by the account."""
    if login_code is None:
        account = await ctx.accounts.get(caller.id)
        openid = account.get("openid") if account else None
    else:
        openid = await _openid_of(ctx, login_code)
    return await open_payment(ctx, caller=caller, order_id=order_id, openid=openid)


async def _openid_of(ctx: "Context", login_code: str) -> str:
    try:
        return (await ctx.wechat_patients.user(login_code)).openid
    except Rejected as error:
        raise Invalid.field("login_code", "微信登录凭证无效，请重试") from error


async def open_payment(ctx: "Context", *, caller: Caller, order_id: str, openid: str | None) -> dict[str, Any]:
    """Open the payment at the gateway and answer the parameters of `wx.requestPayment`.

    `WrongState` unless the order is pending, `wechat_required` when the payer's WeChat identity is unknown,
    `already_paid` when the gateway has the money (the order follows at once), `unavailable` when it is away.
    """
    order = await require_own(ctx, caller, order_id)
    if order["status"] != "pending":
        raise WrongState
    if openid is None:
        raise Conflict(code="wechat_required")
    now = ctx.clock.now()
    noted = await ctx.orders.note(
        order_id,
        at=now,
        set={"payment_requested_at": now},
        deadline_at=now + timedelta(seconds=rules.QUERY_AFTER[0]),
        where={"status": "pending"},
    )
    if noted is None:
        raise WrongState
    try:
        parameters = dict(await ctx.payment.prepay(_payment_of(order, openid, now)))
    except AlreadyPaid as error:
        await follow_gateway(ctx, order)
        raise Conflict(code="already_paid") from error
    except Rejected as error:
        log.error("payment.prepay_rejected", order=order_id, code=error.code)
        if await follow_gateway(ctx, order):  # the gateway does not always say so when it has been paid
            raise Conflict(code="already_paid") from error
        raise ServiceUnavailable("支付暂不可用，请稍后再试") from error
    await _require_still_pending(ctx, order)
    return parameters


def _payment_of(order: Order, openid: str, now: datetime) -> PaymentRequest:
    return PaymentRequest(
        out_trade_no=order["_id"],
        description=order["description"],
        amount=order["amount"],
        expires_at=max(order["expires_at"], now + timedelta(seconds=rules.SHORTEST_PAYMENT_SECONDS)),
        payer_openid=openid,
    )


async def _require_still_pending(ctx: "Context", order: Order) -> None:
    """An order that was closed while its payment was being opened: the closing may have come first, so close again."""
    standing = await get(ctx, order["_id"])
    if standing is not None and standing["status"] == "pending":
        return
    if standing is not None and standing["paid_at"] is not None:
        raise Conflict(code="already_paid")
    await close_payment(ctx, order)
    raise WrongState


async def close_payment(ctx: "Context", order: Order) -> None:
    """Make the gateway refuse late payers; if somebody was faster, the money is taken note of and goes back.

    `Unavailable` when the gateway is away, or says that it is paid and not yet by what.
    """
    try:
        await ctx.payment.close(order["_id"])
    except AlreadyPaid as error:
        if not await follow_gateway(ctx, order):
            raise Unavailable("paid, and not to be seen yet") from error


async def follow_gateway(ctx: "Context", order: Order) -> bool:
    """Ask the gateway where the payment stands and record it when it succeeded; whether it had."""
    transaction = await ctx.payment.query(order["_id"])
    if transaction is None or transaction.state not in (TradeState.SUCCESS, TradeState.REFUND):
        return False
    await record_payment(ctx, transaction)
    return True


async def take_payment_notification(ctx: "Context", headers: Mapping[str, str], body: bytes) -> None:
    """A payment callback as it came; `BadNotification` when it does not hold, then nothing changed."""
    await record_payment(ctx, ctx.payment.read_payment_notification(headers, body))


async def take_refund_notification(ctx: "Context", headers: Mapping[str, str], body: bytes) -> None:
    """A refund callback as it came; `BadNotification` when it does not hold, then nothing changed."""
    await record_refund(ctx, ctx.payment.read_refund_notification(headers, body))


async def record_payment(ctx: "Context", transaction: Transaction) -> None:
    """Take the gateway's word that an order was paid; safe however often and however late it comes.

    `BadNotification` for an unknown order or another amount: nothing changes. A pending order becomes `paid` and owes
    `order.submit` in the same update; a closed one goes straight to `refunding`.
    """
    order = await get(ctx, transaction.out_trade_no)
    if order is None:
        raise BadNotification("unknown order")
    if transaction.amount != order["amount"]:
        log.error("payment.wrong_amount", order=order["_id"], told=transaction.amount, ours=order["amount"])
        raise BadNotification("wrong amount")
    if transaction.state not in (TradeState.SUCCESS, TradeState.REFUND):
        return
    paid = {"transaction_id": transaction.transaction_id, "paid_at": transaction.succeeded_at or ctx.clock.now()}
    if await _move(ctx, order, "pending", "paid", act="pay", by=GATEWAY, set=paid, owes=["order.submit"]):
        await ctx.duties.run_now("orders", order["_id"])
        return
    await _start_refund(ctx, order, "closed", by=GATEWAY, reason="late_payment", set=paid)


async def settle(ctx: "Context", order_id: str, *, by: Actor, reason: str) -> None:
    """What the order stands for has ended: close it if it is unpaid, give the money back in full if it is paid."""
    order = await get(ctx, order_id)
    if order is None:
        return
    closed = await _move(ctx, order, "pending", "closed", act="close", by=by, reason=reason, owes=["order.close"])
    if closed:
        ctx.duties.kick("orders", order_id)
        return
    await _start_refund(ctx, order, "paid", by=by, reason=reason)


async def record_refund(ctx: "Context", refund: Refund) -> None:
    """Take the gateway's word on a refund; `BadNotification` when it is not one of ours."""
    order = await get(ctx, refund.out_trade_no)
    if order is None or order["refund"] is None or order["refund"]["out_refund_no"] != refund.out_refund_no:
        raise BadNotification("unknown refund")
    if refund.amount != order["refund"]["amount"]:
        log.error("refund.wrong_amount", order=order["_id"], told=refund.amount, ours=order["refund"]["amount"])
        raise BadNotification("wrong amount")
    told = {
        "refund.state": str(refund.state),
        "refund.refund_id": refund.refund_id,
        "refund.succeeded_at": refund.succeeded_at,
    }
    if refund.state is RefundState.SUCCESS:
        if await _move(ctx, order, "refunding", "refunded", act="refunded", by=GATEWAY, set=told):
            await _wake_given_up(ctx, order)
    else:
        await ctx.orders.note(order["_id"], at=ctx.clock.now(), set=told, where={"status": "refunding"})


async def _wake_given_up(ctx: "Context", order: Order) -> None:
    """A refund that was given up and has arrived all the same owes nothing more: its duty runs once more and ends."""
    for one in order["duties"]:
        if one["state"] == "dead" and one["kind"] == "order.refund":
            await ctx.orders.revive(order["_id"], one["key"], at=ctx.clock.now())
            ctx.duties.kick("orders", order["_id"])


async def _start_refund(
    ctx: "Context", order: Order, frm: str, *, by: Actor, reason: str, set: dict[str, Any] | None = None
) -> None:
    refund = rules.full_refund(order, reason=reason, at=ctx.clock.now())
    moved = await _move(
        ctx,
        order,
        frm,
        "refunding",
        act="refund",
        by=by,
        reason=reason,
        set={**(set or {}), "refund": refund},
        owes=["order.refund"],
    )
    if moved:
        ctx.duties.kick("orders", order["_id"])


async def _move(
    ctx: "Context",
    order: Order,
    frm: str,
    to: str,
    *,
    act: str,
    by: Actor,
    reason: str | None = None,
    set: dict[str, Any] | None = None,
    owes: list[str] | None = None,
) -> Order | None:
    now = ctx.clock.now()
    moved = await ctx.orders.move(
        order["_id"],
        frm,
        to,
        entry=outbox.entry(by, act, frm=frm, to=to, at=now, reason=reason),
        duties=[duty(kind, order["_id"], order["version"], now) for kind in owes or []],
        set=set,
    )
    if moved is not None:
        await tell(ctx, cast("Order", moved))
    return cast("Order | None", moved)


async def tell(ctx: "Context", order: Order) -> None:
    """Push the order's new state to who pays it and who is paid."""
    data = {"order": order["_id"], "status": order["status"], "kind": order["kind"]}
    await events.publish(ctx, "order.updated", to=[order["account_id"], order["doctor_id"]], data=data)
