"""A patient who is not there when it rings gets a link: it opens the call without a login, once, while it rings."""

from typing import TYPE_CHECKING, Final

import structlog

from core.accounts import rules as accounts
from core.accounts import tickets
from core.errors import AWAY
from core.ports import Rejected, SmsTemplate
from core.visits import service as visits
from rtc import metrics, states
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

FAILED: Final[tuple[type[BaseException], ...]] = (*AWAY, Rejected)


async def link(ctx: "Context", call: Call) -> str:
    """An address with a fresh ticket to the call for its patient.

    The ticket stands behind `#`, so that no proxy on the way writes it down.
    """
    ticket = await tickets.mint_for_call(
        ctx, account_id=call["patient_account"], call=call["_id"], seconds=ctx.policy.call_ring_seconds
    )
    return f"{ctx.public_url}/call#ticket={ticket}"


async def invite_absent(ctx: "Context", call: Call) -> None:
    """Send the link by text message when the patient has no socket open. Once: a message is never sent again by itself.

    What cannot be sent is logged and counted, and the call rings on.
    """
    patient = call["patient_account"]
    if call["status"] != "ringing" or states.is_overdue(call, ctx.clock.now()):
        return
    if await ctx.bus.is_online([patient]):
        return
    account, visit = await ctx.accounts.get(patient), await visits.get(ctx, call["visit_id"])
    if account is None or visit is None or not account["phone"]:
        metrics.INVITATIONS.labels("no_phone").inc()
        return
    phone = ctx.cipher.open(account["phone"], field=accounts.PHONE_FIELD)
    try:
        said = {"doctor": visit["doctor_name"], "link": await link(ctx, call)}
        await ctx.sms.send(phone, SmsTemplate.CALL_INVITATION, said, reference=call["_id"])
    except FAILED as error:
        metrics.INVITATIONS.labels("failed").inc()
        log.warning("call.invitation_failed", call=call["_id"], error=type(error).__name__)
    else:
        metrics.INVITATIONS.labels("sent").inc()
