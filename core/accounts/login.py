"""The three ways in: a text-message code, an account with its password, a phone number that WeChat vouches for.

Each way ends in an account or in `bad_credentials`, which says nothing about what exists. Patients sign up by logging
in; staff must have been made in the back office.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypedDict

import structlog

from core import metrics
from core.accounts import codes, enrolment, passwords, rules, second_factor, service, sessions, tries
from core.accounts.sessions import LoggedIn
from core.errors import Unauthenticated, refusal_of
from core.ports import Rejected
from storage.accounts import Account, Audience

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

_MFA = "mfa-ticket"


class SecondStep(TypedDict):
    """The proof was right; a code of the second factor is asked for, with this ticket.

    `enrol` beside the ticket holds a new secret for who must have a second factor and has none yet: its first code is
    the one asked for.
    """

    mfa: dict[str, Any]


@contextmanager
def _counted(method: str) -> Iterator[None]:
    """Count how this step of logging in ends."""
    try:
        yield
    except Exception as error:
        refusal = refusal_of(error)
        metrics.LOGINS.labels(method, refusal.code if refusal else "failed").inc()
        raise
    metrics.LOGINS.labels(method, "ok").inc()


async def log_in(ctx: "Context", *, audience: Audience, method: str, **proof: str) -> LoggedIn | SecondStep:
    """Log in by one of `METHODS`, whose proof the schema has checked for form.

    `bad_credentials`, `locked` after too many wrong passwords, `account_disabled`; `Unavailable` when WeChat is.
    """
    with _counted(method):
        return await _first_step(ctx, audience, method, proof)


async def _first_step(
    ctx: "Context", audience: Audience, method: str, proof: Mapping[str, str]
) -> LoggedIn | SecondStep:
    account = await METHODS[method](ctx, audience, **proof)
    rules.require_active(account)
    must_enrol = account["second_factor"] is None
    if must_enrol and not (account["audience"] == "staff" and ctx.second_factor_required):
        return await sessions.start(ctx, account, method)
    ticket = rules.new_secret()
    content = {"account": account["_id"], "epoch": str(account["epoch"]), "method": method}
    step: dict[str, Any] = {"ticket": ticket}
    if must_enrol:
        step["enrol"] = enrolment.new_enrolment(account)
        content["secret"] = second_factor.seal(ctx, step["enrol"]["secret"])
    await ctx.tickets.keep(_digest(ctx, ticket), content, ctx.policy.mfa_ticket_seconds)
    return {"mfa": step}


async def finish(ctx: "Context", *, ticket: str, code: str) -> LoggedIn:
    """The second step: the ticket of the first with a code that was not used before.

    A wrong code leaves the ticket, and counts like a wrong password: `bad_credentials`, then `locked`.
    """
    with _counted("second_factor"):
        return await _second_step(ctx, ticket, code)


async def _second_step(ctx: "Context", ticket: str, code: str) -> LoggedIn:
    digest = _digest(ctx, ticket)
    content = await ctx.tickets.read(digest)
    account = await ctx.accounts.get(content["account"]) if content is not None else None
    if content is None or account is None or str(account["epoch"]) != content["epoch"]:
        raise _bad()
    await tries.take(ctx, account)
    step = second_factor.step_of(ctx, content["secret"], code) if "secret" in content else None
    if step is None and not await second_factor.is_right(ctx, account, code):
        log.info("login.refused", account=account["_id"], method="second_factor")
        raise _bad()
    if await ctx.tickets.take(digest) is None:
        raise _bad()
    if step is not None:
        await _enrol(ctx, account, content["secret"], step)
    await tries.forget(ctx, account)
    return await sessions.start(ctx, account, content["method"])


async def _enrol(ctx: "Context", account: Account, secret: str, step: int) -> None:
    """The code of a secret shown at this login was right: from now on it is asked for; one bound meanwhile wins."""
    if not await ctx.accounts.enrol(account["_id"], {"secret": secret, "last_step": step}, ctx.clock.now()):
        raise _bad()
    log.info("second_factor.set", account=account["_id"])


async def _by_sms(ctx: "Context", audience: Audience, *, phone: str, code: str) -> Account:
    if not await codes.is_right(ctx, phone=phone, purpose="login", code=code):
        raise _bad()
    return await _holder(ctx, audience, phone)


async def _by_password(ctx: "Context", audience: Audience, *, account: str, password: str) -> Account:
    """Staff only, as the schema sees to."""
    known = await ctx.accounts.by_login(account.lower())
    if known is None or known["password_hash"] is None:
        await _refuse_unknown(ctx, account.lower(), password)
        raise _bad()
    taken = await tries.take(ctx, known)
    if not await passwords.is_right(password, known["password_hash"]):
        log.info("login.refused", account=known["_id"], method="password", wrong_tries=taken.wrong)
        raise _bad()
    rules.require_password_holds(known, ctx.clock.now())
    if known["second_factor"] is None:
        await tries.forget(ctx, known)
    else:
        await tries.give_back(ctx, known, taken)
    if passwords.is_outdated(known["password_hash"]):
        renewed = await passwords.make_hash(password)
        await ctx.accounts.set_password_hash(known["_id"], known["password_hash"], renewed)
    return known


async def _refuse_unknown(ctx: "Context", login: str, password: str) -> None:
    """Take as long as for an account that exists, and lock like one, so that neither tells which names exist."""
    name = rules.digest(ctx.secrets.codes, "unknown-login", login)
    amount, seconds = ctx.policy.password_tries, ctx.policy.password_lock_seconds
    wait = await ctx.limiter.hit("login.unknown", name, amount, seconds)
    if wait is not None:
        metrics.RATE_LIMITED.labels("login.unknown").inc()
        raise rules.locked(wait)
    await passwords.is_right(password, None)


async def _by_wechat(ctx: "Context", audience: Audience, *, login_code: str, phone_code: str) -> Account:
    wechat = ctx.wechat_patients if audience == "patient" else ctx.wechat_staff
    try:
        user = await wechat.user(login_code)
        phone = await wechat.phone(phone_code)
    except Rejected as error:
        log.info("login.refused", method="wechat", why=error.code)
        raise _bad() from error
    account = await _holder(ctx, audience, phone)
    rules.require_active(account)
    if account.get("openid") != user.openid:
        await _bind(ctx, account, user.openid)
    return account


async def _bind(ctx: "Context", account: Account, openid: str) -> None:
    """The WeChat user pays for whom they logged in last; a lost race means they just logged in elsewhere too."""
    bound = await ctx.accounts.bind_openid(account["_id"], account["audience"], openid, ctx.clock.now())
    log.info("login.wechat_bound", account=account["_id"], bound=bound)


async def _holder(ctx: "Context", audience: Audience, phone: str) -> Account:
    """The account of a phone that has been proven to be the asker's."""
    if audience == "patient":
        return await service.create_patient_account(ctx, phone=phone)
    account = await ctx.accounts.by_phone("staff", ctx.cipher.blind(phone, field=rules.PHONE_FIELD))
    if account is None:
        raise _bad()
    return account


def _bad() -> Unauthenticated:
    return Unauthenticated(code="bad_credentials")


def _digest(ctx: "Context", ticket: str) -> str:
    return rules.digest(ctx.secrets.codes, _MFA, ticket)


METHODS: Final[Mapping[str, Callable[..., Awaitable[Any]]]] = {
    "sms": _by_sms,
    "password": _by_password,
    "wechat": _by_wechat,
}
