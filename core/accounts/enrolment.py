"""Binding an authenticator app to one's own staff account, changing it for another, and doing without (R6-4)."""

from typing import TYPE_CHECKING, Final, TypedDict

import pyotp
import structlog

from core import audit
from core.accounts import elevation, rules, second_factor
from core.auth import Caller
from core.errors import Invalid, NotFound, WrongState
from storage.accounts import Account

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

ISSUER: Final = "互联网医院"
_PENDING: Final = "second-factor-pending"


class Enrolment(TypedDict):
    """What an authenticator app needs, shown once: the secret in base32, and the same as `otpauth:` URI for a QR."""

    secret: str
    uri: str


def new_enrolment(account: Account) -> Enrolment:
    """A secret for this account that counts for nothing yet."""
    return enrolment(account, pyotp.random_base32())


def enrolment(account: Account, secret: str) -> Enrolment:
    """The secret in the forms in which an authenticator takes it (Google's Key Uri Format)."""
    uri = pyotp.TOTP(secret, interval=second_factor.STEP_SECONDS).provisioning_uri(
        name=account["login"] or account["_id"], issuer_name=ISSUER
    )
    return {"secret": secret, "uri": uri}


async def begin(ctx: "Context", *, caller: Caller) -> Enrolment:
    """A new secret for the caller's own account, which counts once `confirm` has seen a code of it.

    `elevation_required` without a fresh proof: else a stolen token could shut its owner out.
    """
    await elevation.require(ctx, caller)
    account = await ctx.accounts.get(caller.id)
    if account is None or account["audience"] != "staff":
        raise NotFound
    made = new_enrolment(account)
    await ctx.tickets.keep(
        _slot(ctx, caller), {"secret": second_factor.seal(ctx, made["secret"])}, ctx.policy.mfa_ticket_seconds
    )
    return made


async def confirm(ctx: "Context", *, caller: Caller, code: str) -> None:
    """Ask for a second factor from now on, in the place of an earlier one; the code is used up.

    `wrong_state` when nothing was begun on this session or it took too long, `Invalid` for a wrong code: what was begun
    stays then.
    """
    pending = await ctx.tickets.read(_slot(ctx, caller))
    if pending is None:
        raise WrongState("请重新开始绑定动态验证码")
    step = second_factor.step_of(ctx, pending["secret"], code)
    if step is None:
        raise Invalid.field("code", "动态验证码不正确，请核对手机时间后重试")
    if await ctx.tickets.take(_slot(ctx, caller)) is None:
        raise WrongState("请重新开始绑定动态验证码")
    await ctx.accounts.set_second_factor(caller.id, {"secret": pending["secret"], "last_step": step}, ctx.clock.now())
    await audit.append(ctx, caller.actor, "second_factor.set", subject=f"account:{caller.id}")
    log.info("second_factor.set", account=caller.id)


async def remove(ctx: "Context", *, caller: Caller) -> None:
    """Ask the caller for no second factor any more; `wrong_state` where the hospital requires one (R6-4)."""
    await elevation.require(ctx, caller)
    if ctx.second_factor_required:
        raise WrongState("本院要求工作人员使用动态验证码，可重新绑定，不能关闭")
    await ctx.accounts.set_second_factor(caller.id, None, ctx.clock.now())
    await audit.append(ctx, caller.actor, "second_factor.remove", subject=f"account:{caller.id}")
    log.info("second_factor.removed", account=caller.id)


def _slot(ctx: "Context", caller: Caller) -> str:
    return rules.digest(ctx.secrets.codes, _PENDING, caller.id, caller.session)
