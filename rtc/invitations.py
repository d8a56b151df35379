"""A patient who is not there when it rings is reached by a message that opens the call without a login, while it rings.

A subscribe message where the patient has allowed one, else a text message; a call cannot wait for certainty, so that a
subscribe message of which nobody knows whether it arrived is followed by a text message.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog

from core.accounts import rules as accounts
from core.accounts import tickets
from core.errors import AWAY
from core.ids import CHINA
from core.ports import Rejected, SmsTemplate, WeChatTemplate
from core.visits import service as visits
from rtc import metrics, states
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

FAILED: Final[tuple[type[BaseException], ...]] = (*AWAY, Rejected)


async def ticket_to(ctx: "Context", call: Call) -> str:
    """A fresh ticket to the call for its patient: one use, dead after the call."""
    return await tickets.mint_for_call(
        ctx, account_id=call["patient_account"], call=call["_id"], seconds=ctx.policy.call_ring_seconds
    )


async def link(ctx: "Context", call: Call) -> str:
    """An address with a ticket of its own. It stands behind `#`, so that no proxy on the way writes it down."""
    return f"{ctx.public_url}/call#ticket={await ticket_to(ctx, call)}"


async def invite_absent(ctx: "Context", call: Call) -> None:
    """Tell a patient who has no socket open. Once: a message is never sent again by itself.

    What cannot be sent is logged and counted, and the call rings on.
    """
    patient = call["patient_account"]
    if call["status"] != "ringing" or states.is_overdue(call, ctx.clock.now()):
        return
    if await ctx.bus.is_online([patient]):
        return
    account, visit = await ctx.accounts.get(patient), await visits.get(ctx, call["visit_id"])
    if account is None or visit is None:
        return
    if account.get("openid") and await _by_subscribe_message(ctx, call, account["openid"]):
        return
    await _by_text_message(ctx, call, account["phone"], visit["doctor_name"])


async def _by_subscribe_message(ctx: "Context", call: Call, openid: str) -> bool:
    """Whether the patient surely got it."""
    try:
        query = {"call": call["_id"], "ticket": await ticket_to(ctx, call)}
        words = said(call["media"], ctx.clock.now())
        await ctx.patient_messages.send(openid, WeChatTemplate.CALL, words, query=query)
    except FAILED as error:
        _note("subscribe", "failed", call, error)
        return False
    _note("subscribe", "sent", call)
    return True


async def _by_text_message(ctx: "Context", call: Call, sealed_phone: str | None, doctor: str) -> None:
    if not sealed_phone:
        _note("sms", "no_phone", call)
        return
    phone = ctx.cipher.open(sealed_phone, field=accounts.PHONE_FIELD)
    try:
        filled = {"doctor": doctor, "link": await link(ctx, call)}
        await ctx.sms.send(phone, SmsTemplate.CALL_INVITATION, filled, reference=call["_id"])
    except FAILED as error:
        _note("sms", "failed", call, error)
    else:
        _note("sms", "sent", call)


def said(media: Literal["audio", "video"], at: datetime) -> Mapping[str, str]:
    """The words of the subscribe message, each within WeChat's 20 characters; it stands on locked screens."""
    matter = "医生邀请您视频通话" if media == "video" else "医生邀请您语音通话"
    return {"matter": matter, "hint": "请立即点击接听", "at": at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M")}


def _note(channel: str, outcome: str, call: Call, error: BaseException | None = None) -> None:
    metrics.INVITATIONS.labels(channel, outcome).inc()
    if error is not None:
        log.warning("call.invitation_failed", call=call["_id"], channel=channel, error=type(error).__name__)
