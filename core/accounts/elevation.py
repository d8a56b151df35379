"""Proving oneself again before a dangerous act (R6-4): a password or a code lifts one session for some minutes.

A stolen access token, or a screen left open, is not enough to change who may do what. Only Redis knows who is lifted,
so with Redis away nobody is.
"""

from typing import TYPE_CHECKING, Final, TypedDict

import structlog

from core import audit
from core.accounts import passwords, rules, second_factor, tries
from core.auth import Caller
from core.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from core.context import Context
    from storage.accounts import Account

log = structlog.get_logger()

_ELEVATION: Final = "elevation"


class Elevation(TypedDict):
    """`expires_in` in seconds."""

    expires_in: int


async def elevate(ctx: "Context", *, caller: Caller, password: str | None = None, code: str | None = None) -> Elevation:
    """Lift the caller's session by their password or a code of their authenticator.

    A wrong one counts like a wrong login: `bad_credentials`, then `locked`. Nothing else is lifted: not another session
    of the same person, and not what follows a new login.
    """
    account = await ctx.accounts.get(caller.id)
    if account is None:
        raise Unauthenticated
    taken = await tries.take(ctx, account)
    if not await _is_right(ctx, account, password, code):
        await tries.note_wrong(ctx, account, taken)
        await audit.append(ctx, caller.actor, "elevation.refuse", subject=f"session:{caller.session}")
        log.info("elevation.refused", account=caller.id, session=caller.session)
        raise Unauthenticated(code="bad_credentials")
    if code is not None or account["second_factor"] is None:
        await tries.forget(ctx, account)
    else:
        await tries.give_back(ctx, account, taken)
    await audit.append(ctx, caller.actor, "elevation.grant", subject=f"session:{caller.session}")
    await ctx.tickets.keep(_slot(ctx, caller), {"account": caller.id}, ctx.policy.elevation_seconds)
    log.info("elevation.granted", account=caller.id, session=caller.session)
    return {"expires_in": ctx.policy.elevation_seconds}


async def require(ctx: "Context", caller: Caller) -> None:
    """Refuse with `elevation_required` unless this session has been lifted not long ago."""
    if await ctx.tickets.read(_slot(ctx, caller)) is None:
        raise Forbidden(code="elevation_required")


async def _is_right(ctx: "Context", account: "Account", password: str | None, code: str | None) -> bool:
    if code is not None:
        return await second_factor.is_right(ctx, account, code)
    return await passwords.is_right(password or "", account["password_hash"])


def _slot(ctx: "Context", caller: Caller) -> str:
    return rules.digest(ctx.secrets.codes, _ELEVATION, caller.id, caller.session)
