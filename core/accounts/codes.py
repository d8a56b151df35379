"""Codes by text message: proof that somebody holds a phone, asked for by anybody, for one purpose, once.

Whether an account has the phone plays no part in asking, so the answer cannot tell. Codes are in Redis only, as
digests; with Redis away nobody gets or uses one.
"""

from typing import TYPE_CHECKING

import structlog

from core import metrics
from core.accounts import rules
from core.errors import RateLimited, ServiceUnavailable
from core.ids import new_id
from core.policy import MINUTE
from core.ports import Rejected, SmsTemplate, Unavailable
from storage.login_codes import CodeTerms

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()


async def send(ctx: "Context", *, phone: str, purpose: rules.Purpose) -> None:
    """Send a new code, which takes the place of an earlier one.

    `RateLimited` within the pause and above the day's number, with the seconds to wait. `ServiceUnavailable` when the
    carrier did not take it: the code is dropped and not counted, so it may be asked for again at once.
    """
    code = rules.new_code()
    slot, digest = _slot(ctx, phone), _digest(ctx, phone, purpose, code)
    terms = CodeTerms(ctx.policy.sms_code_seconds, ctx.policy.sms_resend_seconds, ctx.policy.sms_daily_per_phone)
    wait = await ctx.login_codes.put(slot, purpose, digest, terms)
    if wait is not None:
        metrics.RATE_LIMITED.labels("auth.codes.phone").inc()
        raise RateLimited(retry_after=wait)
    reference = new_id()
    said = {"code": code, "minutes": str(ctx.policy.sms_code_seconds // MINUTE)}
    try:
        await ctx.sms.send(phone, SmsTemplate.LOGIN_CODE, said, reference=reference)
    except (Unavailable, Rejected) as error:
        await ctx.login_codes.drop(slot, purpose, digest)
        why = error.code if isinstance(error, Rejected) else "unavailable"
        log.warning("code.not_sent", purpose=purpose, reference=reference, why=why)
        raise ServiceUnavailable("短信暂时无法发送，请稍后再试") from error
    log.info("code.sent", purpose=purpose, reference=reference)


async def is_right(ctx: "Context", *, phone: str, purpose: rules.Purpose, code: str) -> bool:
    """Whether this is the phone's code for this purpose; right or not, it is used up as the policy says."""
    digest = _digest(ctx, phone, purpose, code)
    return await ctx.login_codes.use(_slot(ctx, phone), purpose, digest, ctx.policy.sms_code_tries)


def _slot(ctx: "Context", phone: str) -> str:
    return ctx.cipher.blind(phone, field=rules.PHONE_FIELD)


def _digest(ctx: "Context", phone: str, purpose: str, code: str) -> str:
    return rules.digest(ctx.secrets.codes, "sms-code", purpose, phone, code)
