"""The second factor of staff: time-based codes (TOTP, RFC 6238) from an authenticator app."""

import hmac
from typing import TYPE_CHECKING, Final

import pyotp

from core.accounts import rules
from core.errors import NotFound
from storage.accounts import Account

if TYPE_CHECKING:
    from core.context import Context

STEP_SECONDS: Final = 30
# Codes of the step before and after count too: RFC 6238 §5.2 allows for a phone's clock that is a little off.
_STEPS_OFF: Final = (0, -1, 1)


def seal(ctx: "Context", secret: str) -> str:
    """The secret as it is stored."""
    return ctx.cipher.seal(secret, field=rules.SECOND_FACTOR_FIELD)


async def set_up(ctx: "Context", account_id: str) -> str:
    """Ask this staff account for a second factor from now on; the new secret in base32, shown once to its owner.

    An earlier secret no longer counts. `NotFound` for what is no staff account.
    """
    account = await ctx.accounts.get(account_id)
    if account is None or account["audience"] != "staff":
        raise NotFound
    secret = pyotp.random_base32()
    await ctx.accounts.set_second_factor(account_id, {"secret": seal(ctx, secret), "last_step": 0}, ctx.clock.now())
    return secret


async def is_right(ctx: "Context", account: Account, code: str) -> bool:
    """Whether this is a code of the account's authenticator that was not used before; it is used up then."""
    factor = account["second_factor"]
    if factor is None:
        return False
    step = step_of(ctx, factor["secret"], code)
    return step is not None and await ctx.accounts.use_step(account["_id"], step)


def step_of(ctx: "Context", sealed: str, code: str) -> int | None:
    """The time step near now in which this sealed secret gives this code; None: it gives another."""
    totp = pyotp.TOTP(ctx.cipher.open(sealed, field=rules.SECOND_FACTOR_FIELD), interval=STEP_SECONDS)
    now = int(ctx.clock.now().timestamp()) // STEP_SECONDS
    steps = (now + off for off in _STEPS_OFF)
    return next((step for step in steps if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())), None)
