"""Tickets: what may stand in a URL instead of a token. Seconds to live, for one use; only their digests are stored.

A ticket to a call opens that call and nothing else. Its token outlives an access token, because the page that holds it
has no refresh token and the call must not be cut; it stands on a session of the call's own, which ends with the call.
"""

from typing import TYPE_CHECKING, Literal, TypedDict

from core.accounts import rules, sessions
from core.accounts.sessions import AccessGrant
from core.auth import Caller
from core.errors import Invalid, NotFound, Unauthenticated

if TYPE_CHECKING:
    from core.context import Context
    from storage.accounts import Account

_WEB_VIEW = "web-view-ticket"


class Ticket(TypedDict):
    """`expires_in` in seconds."""

    ticket: str
    expires_in: int


async def issue(ctx: "Context", *, caller: Caller, purpose: Literal["web_view", "call"], call: str | None) -> Ticket:
    """A ticket that carries the caller's session into a web view, or the caller into one live call.

    For `call`, `NotFound` unless the call is live and the caller one of its two members.
    """
    if (purpose == "call") != (call is not None):
        raise Invalid.field("call", "仅用于通话凭证，且通话凭证必须填写")
    content = {"account": caller.id, "session": caller.session}
    if call is not None:
        if not await ctx.live_calls.admits(call, caller.id):
            raise NotFound
        content["call"] = call
    ticket = await _keep(ctx, content, ctx.policy.ticket_seconds)
    return {"ticket": ticket, "expires_in": ctx.policy.ticket_seconds}


async def mint_for_call(ctx: "Context", *, account_id: str, call: str, seconds: int) -> str:
    """A ticket to a call for somebody who is called: it stands on no login, but on nobody's having lost theirs."""
    account = await ctx.accounts.get(account_id)
    if account is None:
        raise NotFound
    return await _keep(ctx, {"account": account_id, "call": call, "epoch": str(account["epoch"])}, seconds)


async def redeem(ctx: "Context", ticket: str) -> AccessGrant:
    """An access token on the session the ticket came from, so that its logout ends both; there is no refresh token.

    A ticket to a call gives a token bound to it. `Unauthenticated` for a used, expired or made-up ticket, when the
    session has ended meanwhile, and when the call has.
    """
    content = await ctx.tickets.take(_digest(ctx, ticket))
    if content is None:
        raise Unauthenticated
    account = await (_of_session(ctx, content) if "session" in content else _of_epoch(ctx, content))
    if account is None:
        raise Unauthenticated
    if "call" not in content:
        return sessions.access_grant(ctx, account, content["session"])
    if not await ctx.live_calls.admits(content["call"], account["_id"]):
        raise Unauthenticated
    return sessions.call_grant(ctx, account, content["call"])


async def close_call(ctx: "Context", *, account_id: str, call: str) -> None:
    """End what tickets to this call have opened for the account, its sockets included; the call has ended.

    Raises one of `BUS_AWAY`.
    """
    session = sessions.call_session(call)
    await ctx.revocations.revoke_session(
        session=session, account=account_id, seconds=sessions.longest_token(ctx.policy)
    )
    await ctx.bus.broadcast("session.revoked", {"session": session, "account": account_id})


async def _of_session(ctx: "Context", content: dict[str, str]) -> "Account | None":
    session = await ctx.sessions.get(content["session"])
    if session is None or session["revoked_at"] is not None:
        return None
    return await sessions.standing_account(ctx, session)


async def _of_epoch(ctx: "Context", content: dict[str, str]) -> "Account | None":
    account = await ctx.accounts.get(content["account"])
    if account is None or account["status"] != "active" or str(account["epoch"]) != content["epoch"]:
        return None
    return account


async def _keep(ctx: "Context", content: dict[str, str], seconds: int) -> str:
    ticket = rules.new_secret()
    await ctx.tickets.keep(_digest(ctx, ticket), content, seconds)
    return ticket


def _digest(ctx: "Context", ticket: str) -> str:
    return rules.digest(ctx.secrets.codes, _WEB_VIEW, ticket)
