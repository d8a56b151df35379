"""Sessions: from a login to the last refresh. A session is a family of refresh tokens of which only the newest works.

MongoDB has the truth; Redis tells every process which access tokens no longer count. Redis away while a session ends:
it cannot be refreshed any more, and its last access token lives out its quarter of an hour.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

import structlog

from core import audit
from core.accounts import rules
from core.errors import NotFound, Unauthenticated
from core.ids import new_id
from storage.accounts import Account, Status
from storage.redis import BUS_AWAY
from storage.sessions import Ending, Session

if TYPE_CHECKING:
    from core.context import Context
    from core.policy import Policy

log = structlog.get_logger()


class AccessGrant(TypedDict):
    """`expires_in` in seconds."""

    access_token: str
    expires_in: int


class LoggedIn(AccessGrant):
    """What a login or a refresh answers."""

    refresh_token: str
    account: dict[str, Any]


async def start(ctx: "Context", account: Account, method: str) -> LoggedIn:
    """Open a session for somebody whose proof has been accepted; `account_disabled` when they may not log in."""
    rules.require_active(account)
    now = ctx.clock.now()
    id_ = new_id()
    refresh_token = rules.new_refresh_token(ctx.secrets.codes, id_, 1)
    session: Session = {
        "_id": id_,
        "account_id": account["_id"],
        "method": method,
        "epoch": account["epoch"],
        "generation": 1,
        "token_digest": _digest(ctx, refresh_token),
        "created_at": now,
        "refreshed_at": now,
        "expires_at": _expiry(ctx, account, now),
        "revoked_at": None,
        "ending": None,
    }
    await ctx.sessions.add(session)
    await audit.append(ctx, rules.actor_of(account), "session.start", subject=f"session:{id_}", reason=method)
    log.info("session.started", session=id_, account=account["_id"], method=method)
    return _logged_in(ctx, account, id_, refresh_token)


async def refresh(ctx: "Context", refresh_token: str) -> LoggedIn:
    """Exchange the newest refresh token for new ones.

    A token used before ends the session, for one of the two who used it is a thief: `token_reused`; so it does when
    two use it at once, of which one gets its answer. `Unauthenticated` for what was never ours, has expired or ended.
    """
    session = await _presented(ctx, refresh_token)
    if session is None or session["expires_at"] <= ctx.clock.now():
        raise Unauthenticated
    if session["revoked_at"] is not None:
        raise Unauthenticated(code="token_reused" if session["ending"] == "reused" else "unauthenticated")
    if session["token_digest"] != _digest(ctx, refresh_token):
        raise await _reused(ctx, session)
    account = await standing_account(ctx, session)
    if account is None:
        await _end(ctx, session, "refused")
        raise Unauthenticated
    now = ctx.clock.now()
    following = rules.new_refresh_token(ctx.secrets.codes, session["_id"], session["generation"] + 1)
    rotated = await ctx.sessions.rotate(
        session,
        token_digest=_digest(ctx, following),
        now=now,
        expires_at=_expiry(ctx, account, now),
    )
    if not rotated:
        raise await _reused(ctx, session)
    return _logged_in(ctx, account, session["_id"], following)


async def log_out(ctx: "Context", refresh_token: str) -> None:
    """End the session, by its newest or an older refresh token; a token that was never ours ends nothing."""
    session = await _presented(ctx, refresh_token)
    if session is not None:
        await _end(ctx, session, "logout")


async def standing(ctx: "Context", account_id: str) -> list[Session]:
    """The sessions of an account that can still be refreshed, newest first; `NotFound` when there is no account."""
    account = await ctx.accounts.get(account_id)
    if account is None:
        raise NotFound
    now = ctx.clock.now()
    return sorted(
        (
            session
            for session in await ctx.sessions.of_account(account_id)
            if session["revoked_at"] is None and session["expires_at"] > now and session["epoch"] == account["epoch"]
        ),
        key=lambda session: session["_id"],
        reverse=True,
    )


async def revoke(ctx: "Context", account_id: str, session_id: str) -> None:
    """End one session of an account, live sockets included; one that has ended stays so. `NotFound`: not theirs."""
    session = await ctx.sessions.get(session_id)
    if session is None or session["account_id"] != account_id:
        raise NotFound
    await _end(ctx, session, "revoked")


async def end_all(ctx: "Context", account_id: str, *, status: Status | None = None) -> Account:
    """End every session of an account, live sockets included, and set whether it may log in again if that is said."""
    account = await ctx.accounts.call_back(account_id, status, ctx.clock.now())
    if account is None:
        raise NotFound
    await tell_called_back(ctx, account)
    return account


async def tell_called_back(ctx: "Context", account: Account) -> None:
    """Tell every process that the account's epoch was raised: its tokens are refused and its sockets closed."""
    account_id = account["_id"]
    try:
        await ctx.revocations.set_epoch(account_id, account["epoch"], longest_token(ctx.policy))
    except BUS_AWAY:
        log.warning("session.revocation_not_told", account=account_id)
    for session in await ctx.sessions.of_account(account_id):
        if session["epoch"] < account["epoch"] and session["revoked_at"] is None:
            await ctx.bus.broadcast("session.revoked", {"session": session["_id"]})
    log.info("session.all_ended", account=account_id, status=account["status"])


async def standing_account(ctx: "Context", session: Session) -> Account | None:
    """The session's account; None when it may no longer log in, or called its sessions back since."""
    account = await ctx.accounts.get(session["account_id"])
    if account is None or account["status"] != "active" or account["epoch"] != session["epoch"]:
        return None
    return account


def access_grant(ctx: "Context", account: Account, session_id: str) -> AccessGrant:
    """A fresh access token on this session."""
    token = ctx.tokens.issue(
        account=account["_id"],
        role=account["role"],
        audience=account["audience"],
        session=session_id,
        epoch=account["epoch"],
        now=ctx.clock.now(),
        seconds=ctx.policy.access_token_seconds,
    )
    return {"access_token": token, "expires_in": ctx.policy.access_token_seconds}


def call_session(call: str) -> str:
    """The session that tokens of a call stand on; it has no refresh token and ends with the call."""
    return f"call-{call}"


def call_grant(ctx: "Context", account: Account, call: str) -> AccessGrant:
    """An access token for one call, good for as long as the longest."""
    token = ctx.tokens.issue(
        account=account["_id"],
        role=account["role"],
        audience=account["audience"],
        session=call_session(call),
        epoch=account["epoch"],
        now=ctx.clock.now(),
        seconds=ctx.policy.call_longest_seconds,
        scope="call",
        call=call,
    )
    return {"access_token": token, "expires_in": ctx.policy.call_longest_seconds}


def longest_token(policy: "Policy") -> int:
    """How long the longest-lived access token lives, in seconds: so long must a revocation be remembered."""
    return max(policy.access_token_seconds, policy.call_longest_seconds)


def _logged_in(ctx: "Context", account: Account, session_id: str, refresh_token: str) -> LoggedIn:
    grant = access_grant(ctx, account, session_id)
    return {**grant, "refresh_token": refresh_token, "account": rules.describe(ctx.cipher, account)}


def _expiry(ctx: "Context", account: Account, now: datetime) -> datetime:
    return now + timedelta(seconds=rules.unused_seconds(account["audience"], ctx.policy))


async def _presented(ctx: "Context", refresh_token: str) -> Session | None:
    id_ = rules.session_of(ctx.secrets.codes, refresh_token)
    return None if id_ is None else await ctx.sessions.get(id_)


async def _reused(ctx: "Context", session: Session) -> Unauthenticated:
    await _end(ctx, session, "reused")
    return Unauthenticated(code="token_reused")


async def _end(ctx: "Context", session: Session, ending: Ending) -> None:
    """Mark it ended, then tell Redis and the sockets; telling is repeated with a repeated call, it may have failed."""
    if session["revoked_at"] is None:
        account = await ctx.accounts.get(session["account_id"])
        by = audit.NOBODY if account is None else rules.actor_of(account)
        await audit.append(ctx, by, f"session.{ending}", subject=f"session:{session['_id']}")
    await ctx.sessions.revoke(session["_id"], ending, ctx.clock.now())
    try:
        await ctx.revocations.revoke_session(
            session=session["_id"], account=session["account_id"], seconds=ctx.policy.access_token_seconds
        )
    except BUS_AWAY:
        log.warning("session.revocation_not_told", session=session["_id"])
    await ctx.bus.broadcast("session.revoked", {"session": session["_id"]})
    log.info("session.ended", session=session["_id"], account=session["account_id"], ending=ending)


def _digest(ctx: "Context", refresh_token: str) -> str:
    return rules.digest(ctx.secrets.codes, "refresh-token", refresh_token)
