"""What visits owe, what a paid order owes to its visit, and what the worker does when a visit's time has come."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from core.auth import GATEWAY, SYSTEM
from core.errors import AWAY, WrongState
from core.jobs import DutyFunction
from core.notices import service as notices
from core.orders import service as orders
from core.patients import service as patients
from core.visits import rules, service
from storage.orders import Order
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()


async def submit_paid(ctx: "Context", order: Order) -> None:
    """A paid order submits its visit, once (P1.6); money for a visit that has already ended goes back."""
    visit = await service.get(ctx, order["subject_id"])
    if visit is None:
        raise LookupError("an order without its visit")
    if visit["status"] == "pending_payment" and await service.move(ctx, visit, "submit", by=GATEWAY):
        return
    visit = await service.get(ctx, order["subject_id"])
    if visit is not None and visit["submitted_at"] is None:
        await orders.settle(ctx, order["_id"], by=SYSTEM, reason="visit_ended")


async def announce(ctx: "Context", visit: Visit) -> None:
    """Say in the chat what has happened to the visit, each line once (its cause is the step of the history).

    Whom the newest step concerns and who is offline is owed a notice.
    """
    for number, step in enumerate(visit["history"]):
        said = rules.announcement(step["act"], visit["fee"])
        if said is None or visit["submitted_at"] is None:
            continue
        body = {"event": f"visit.{step['act']}", "text": said}
        cause = f"visit:{visit['_id']}:{step['act']}:{number}"
        await ctx.journal.append(visit["_id"], kind="system", body=body, cause=cause)
    if visit["status"] in rules.RATEABLE:
        card = {"card": "rating_request", "visit": visit["_id"]}
        await ctx.journal.append(visit["_id"], kind="card", body=card, cause=f"visit:{visit['_id']}:rating_request")
    if visit["submitted_at"] is not None:
        await notices.owe_step(ctx, visit)


async def deadline(ctx: "Context", visit: Visit) -> None:
    """Expire, decline or complete a visit whose deadline has come; somebody who moved it first has won."""
    run = {"pending_payment": _expire, "waiting": _decline, "in_progress": _complete}.get(visit["status"])
    if run is None:
        return
    try:
        await run(ctx, visit)
    except WrongState:
        log.info("deadline.overtaken", visit=visit["_id"])


async def _expire(ctx: "Context", visit: Visit) -> None:
    """Unpaid: ask the gateway once more before letting it go, so that no late word costs the patient a refund."""
    order = await orders.get(ctx, visit["order_id"] or "")
    if order is not None and order["status"] == "paid":
        await submit_paid(ctx, order)  # paid in time; only its duty was late
        return
    if order is not None and order["payment_requested_at"] is not None and order["status"] == "pending":
        try:
            if await orders.follow_gateway(ctx, order):
                return
        except AWAY:
            log.warning("deadline.gateway_away", visit=visit["_id"])
    await service.move(ctx, visit, "expire", by=SYSTEM, reason="timeout")


async def _decline(ctx: "Context", visit: Visit) -> None:
    await service.move(ctx, visit, "decline", by=SYSTEM, reason="timeout")


async def _complete(ctx: "Context", visit: Visit) -> None:
    """Complete when nobody has spoken for the whole time; otherwise the time runs from the last message."""
    spoken_at = await ctx.messages.last_spoken_at(visit["_id"])
    silence = timedelta(seconds=ctx.policy.visit_silent_seconds)
    seen = visit["deadline_at"]
    if spoken_at is not None and seen is not None and spoken_at + silence > ctx.clock.now():
        await ctx.visits.postpone_deadline(visit["_id"], seen, spoken_at + silence)
        return
    await service.move(ctx, visit, "complete", by=SYSTEM, reason="silent")


async def retain_patient(ctx: "Context", visit: Visit) -> None:
    """The patient's own record and the visit's images are kept as long as the visit (R5-1)."""
    await patients.retain(ctx, visit["patient"]["id"], visit["retain_until"])


async def end_call(ctx: "Context", visit: Visit) -> None:
    """Whoever still talks in a visit that is no longer in progress is cut off."""
    await ctx.live_calls.end_of_visit(visit["_id"])


DUTIES: Final[dict[str, DutyFunction]] = {
    "order.submit": submit_paid,
    "visit.announce": announce,
    "visit.end_call": end_call,
    "visit.retain_patient": retain_patient,
}
DEADLINES: Final[dict[str, DutyFunction]] = {"visits": deadline}
