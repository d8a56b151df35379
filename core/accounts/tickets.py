"""Tickets: what may stand in a URL instead of a token. Seconds to live, for one use; only their digests are stored."""

from typing import TYPE_CHECKING, Literal, TypedDict

from core.accounts import rules, sessions
from core.accounts.sessions import AccessGrant
from core.auth import Caller
from core.errors import Invalid, NotFound, Unauthenticated

if TYPE_CHECKING:
    from core.context import Context

_WEB_VIEW = "web-view-ticket"


class Ticket(TypedDict):
    """`expires_in` in seconds."""

    ticket: str
    expires_in: int


async def issue(ctx: "Context", *, caller: Caller, purpose: Literal["web_view", "call"], call: str | None) -> Ticket:
    """A ticket that carries the caller's session into a web view.

    For `call`, `NotFound` unless the call exists and is the caller's; there are no calls yet, so none is found.
    """
    if (purpose == "call") != (call is not None):
        raise Invalid.field("call", "仅用于通话凭证，且通话凭证必须填写")
    if purpose == "call":
        raise NotFound
    ticket = rules.new_secret()
    await ctx.tickets.keep(
        _digest(ctx, ticket), {"account": caller.id, "session": caller.session}, ctx.policy.ticket_seconds
    )
    return {"ticket": ticket, "expires_in": ctx.policy.ticket_seconds}


async def redeem(ctx: "Context", ticket: str) -> AccessGrant:
    """An access token on the session the ticket came from, so that its logout ends both; there is no refresh token.

    `Unauthenticated` for a used, expired or made-up ticket and when the session has ended meanwhile.
    """
    content = await ctx.tickets.take(_digest(ctx, ticket))
    if content is None:
        raise Unauthenticated
    session = await ctx.sessions.get(content["session"])
    if session is None or session["revoked_at"] is not None:
        raise Unauthenticated
    account = await sessions.standing_account(ctx, session)
    if account is None:
        raise Unauthenticated
    return sessions.access_grant(ctx, account, session["_id"])


def _digest(ctx: "Context", ticket: str) -> str:
    return rules.digest(ctx.secrets.codes, _WEB_VIEW, ticket)
