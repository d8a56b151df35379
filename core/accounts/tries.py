"""Counting the wrong passwords and second-factor codes of an account, together (R6-4)."""

from typing import TYPE_CHECKING

from core import audit
from core.accounts import rules
from core.accounts.rules import Tries
from core.errors import Conflict
from storage.accounts import Account

if TYPE_CHECKING:
    from core.context import Context

# Each lost round means that another try of the same account was counted, and the lock ends that after a few.
_ROUNDS = 20


async def take(ctx: "Context", account: Account) -> Tries:
    """Count one try before it is looked at; `locked` when no more are allowed now."""
    seen: Account | None = account
    for _ in range(_ROUNDS):
        if seen is None:
            break
        tries = rules.next_try(Tries(seen["wrong_tries"], seen["locked_until"]), ctx.clock.now(), ctx.policy)
        counted = await ctx.accounts.count_try(
            seen["_id"], seen=seen["wrong_tries"], wrong_tries=tries.wrong, locked_until=tries.locked_until
        )
        if counted:
            return tries
        seen = await ctx.accounts.get(seen["_id"])
    raise Conflict(retry_after=1)


async def note_wrong(ctx: "Context", account: Account, tries: Tries) -> None:
    """The counted try was wrong; when it was the last one allowed, the audit trail has the lock."""
    if tries.locked_until is not None:
        await audit.append(ctx, rules.actor_of(account), "account.lock", subject=f"account:{account['_id']}")


async def give_back(ctx: "Context", account: Account, tries: Tries) -> None:
    """The counted try was right but is not the whole login: take it, and only it, off the count.

    Without effect when others were counted meanwhile: then the right second factor forgets them all.
    """
    await ctx.accounts.count_try(account["_id"], seen=tries.wrong, wrong_tries=tries.wrong - 1, locked_until=None)


async def forget(ctx: "Context", account: Account) -> None:
    """It was the right person."""
    await ctx.accounts.forget_tries(account["_id"])
