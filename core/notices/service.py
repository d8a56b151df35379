"""Notices: owing one, and telling it by the channels that the receiver has, in their order.

At most one notice goes out for each visit and receiver within `notice_pause_seconds`, even when a runner is killed: a
notice is begun by a compare-and-set that writes the time, and what is begun within the pause waits for its end.

What a kill or a silence of the other side in the middle of a call does is decided by channel, because neither takes a
key that would make a repeat harmless:

- Subscribe message: at least once. Nobody knows whether it went out, so the notice is owed again when the pause is
  over, unless the receiver has come or read by then. It goes by no other channel meanwhile.
- Text message: at most once. It costs money and annoys, so it counts as sent.
"""

from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import metrics
from core.accounts import rules as account_rules
from core.errors import ServiceUnavailable
from core.notices import rules
from core.outbox import Later
from core.ports import NotSent, Rejected, Unavailable, WeChatMessages, WeChatTemplate
from storage.accounts import Account
from storage.conversations import Conversation
from storage.moves import duty
from storage.notices import Channel, News, Notice, Receiver, Status, notice_id
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# Two writers meet rarely, and each loss means that another has won.
TRIES: Final = 20
# Whether somebody is online cannot be known while Redis is away.
REDIS_AWAY_SECONDS: Final = 15
# How many of the last unread messages are looked at for one that somebody else wrote.
LOOKED_AT: Final = 50


async def owe(ctx: "Context", *, visit: str, account: str, receiver: Receiver, steps: int = 0) -> datetime | None:
    """Something happened that this member may have to be told of; None: it was owed before.

    `steps` is the number of the visit's step, 0 for a message; a repeat for the same step does nothing. The answer is
    the time before which nothing is told, so that what happens until then need not be owed again.
    """
    for _ in range(TRIES):
        now = ctx.clock.now()
        notice = await ctx.notices.of(visit, account)
        if notice is None:
            notice = _first(visit, account, receiver, steps, now)
            if await ctx.notices.add(notice):
                return notice["duties"][0]["next_at"]
            continue
        if steps and steps <= notice["owed_steps"]:
            return None
        owed = await _owe_again(ctx, notice, steps, now)
        if owed is not None:
            return owed
    raise ServiceUnavailable


def _first(visit: str, account: str, receiver: Receiver, steps: int, now: datetime) -> Notice:
    id_ = notice_id(visit, account)
    return Notice(
        _id=id_,
        visit=visit,
        account=account,
        receiver=receiver,
        status="owed",
        version=1,
        owed_steps=steps,
        told=News(steps=0, seq=0),
        telling=None,
        again=False,
        noticed_at=None,
        outcome=None,
        duties=[duty("notice.send", id_, 0, rules.due_at(now, None, 0))],
        deadline_at=None,
        created_at=now,
        updated_at=now,
    )


async def _owe_again(ctx: "Context", notice: Notice, steps: int, now: datetime) -> datetime | None:
    """Owe it once more; None: the notice has changed meanwhile.

    One that is owed already is written all the same: whoever is about to close it, having found nothing new, then
    finds it changed.
    """
    values = {"owed_steps": max(steps, notice["owed_steps"])}
    living = next((one for one in notice["duties"] if one["state"] == "due"), None)
    if notice["status"] != "quiet" and living is not None:
        told_now = notice["status"] != "owed"
        changed = await ctx.notices.change(notice, notice["status"], at=now, values={**values, "again": told_now})
        when = living["next_at"] if living["lease"] is None else now
    else:
        when = rules.due_at(now, notice["noticed_at"], ctx.policy.notice_pause_seconds)
        owed = duty("notice.send", notice["_id"], notice["version"], when)
        changed = await ctx.notices.change(notice, "owed", at=now, values={**values, "again": False}, duties=[owed])
    return when if changed is not None else None


async def send(ctx: "Context", notice: Notice) -> None:
    """The duty: tell what is owed if it is still news to the receiver. Raises `Later` until it may, or is settled."""
    if notice["status"] == "quiet":
        return
    if notice["status"] != "owed":
        await _settle_unknown(ctx, notice, notice["status"])
        return
    left = rules.left_of_pause(ctx.clock.now(), notice["noticed_at"], ctx.policy.notice_pause_seconds)
    if left:
        raise Later(left)
    news = News(steps=notice["owed_steps"], seq=await ctx.messages.last_seq(notice["visit"]))
    account = await ctx.accounts.get(notice["account"])
    online = await ctx.bus.is_online([notice["account"]])
    if not online and not ctx.bus.available:
        raise Later(REDIS_AWAY_SECONDS)
    matter = await _matter(ctx, notice, news)
    if online or matter is None or account is None or account.get("status") != "active":
        _count("none", "online" if online else "read" if matter is None else "closed")
        await _require(ctx.notices.change(notice, "quiet", at=ctx.clock.now(), values={"told": news}))
        return
    await _tell(ctx, notice, account, news, matter)


async def _matter(ctx: "Context", notice: Notice, news: News) -> rules.Matter | None:
    """What is news to the receiver: a step of the visit, or another's message beyond what was read and told of."""
    if news["steps"] > notice["told"]["steps"]:
        return "visit"
    marks = await ctx.conversations.get(notice["visit"])
    read = marks.get("read", {}).get(notice["account"], 0) if marks else 0
    after = max(read, notice["told"]["seq"], news["seq"] - LOOKED_AT)
    unread = await ctx.messages.between(notice["visit"], after, news["seq"])
    return "message" if rules.are_news(unread, notice["account"]) else None


async def _tell(ctx: "Context", notice: Notice, account: Account, news: News, matter: rules.Matter) -> None:
    """Begin the notice, which takes it for this runner alone, and go from channel to channel until one has it."""
    openid, now = account.get("openid"), ctx.clock.now()
    first: Channel = "subscribe" if openid else "sms"
    values = {"noticed_at": now, "telling": news, "again": False}
    begun = await _require(ctx.notices.change(notice, first, at=now, values=values))
    if openid:
        words = rules.values(notice["receiver"], matter, now)
        outcome = await _subscribe(_mini_program(ctx, notice["receiver"]), openid, words, notice)
        _count("subscribe", outcome)
        if outcome == "unknown":
            await _settle_unknown(ctx, begun, "subscribe")
            return
        if outcome == "sent":
            await _close(ctx, begun, "subscribe", outcome)
            return
        passed_on = await ctx.notices.proceed(begun, "sms", at=ctx.clock.now(), values={})
        if passed_on is None:
            return
        begun = {**begun, "status": "sms"}
    outcome = await _text(ctx, account, begun)
    _count("sms", outcome)
    await _close(ctx, begun, "sms", outcome)


def _mini_program(ctx: "Context", receiver: Receiver) -> WeChatMessages:
    return ctx.patient_messages if receiver == "patient" else ctx.staff_messages


async def _subscribe(app: WeChatMessages, openid: str, words: dict[str, str], notice: Notice) -> str:
    """`sent`, `unknown`, or why it surely was not: then the next channel has its turn."""
    outcome, code = await _outcome_of(app.send(openid, WeChatTemplate.NOTICE, words, query={"visit": notice["visit"]}))
    if code in ("not_allowed", "unknown_user"):
        return "not_allowed"
    if code:
        log.error("notice.template_refused", visit=notice["visit"], code=code)
    return outcome


async def _text(ctx: "Context", account: Account, begun: Notice) -> str:
    """`sent`, `unknown`, why it surely was not, or `no_phone` when the account has none."""
    if not account.get("phone"):
        return "no_phone"
    phone = ctx.cipher.open(account["phone"], field=account_rules.PHONE_FIELD)
    reference = f"{begun['_id']}:{begun['version']}"
    outcome, code = await _outcome_of(ctx.sms.send(phone, rules.TEXTS[begun["receiver"]], {}, reference=reference))
    if code:
        log.warning("notice.text_refused", visit=begun["visit"], code=code)
    return outcome


async def _outcome_of(sending: Awaitable[None]) -> tuple[str, str]:
    """`sent`, `rejected`, `not_sent` or `unknown`, and the other side's own word for a refusal."""
    try:
        await sending
    except Rejected as error:
        return "rejected", error.code
    except NotSent:
        return "not_sent", ""
    except Unavailable:
        return "unknown", ""
    return "sent", ""


async def _settle_unknown(ctx: "Context", begun: Notice, channel: Status) -> None:
    """A notice of which nobody knows whether it went out (see above)."""
    if channel == "sms":
        await _close(ctx, begun, "sms", "unknown")
        return
    now = ctx.clock.now()
    values = {"telling": None, "again": False, "outcome": _outcome("subscribe", "unknown", now)}
    if await ctx.notices.proceed(begun, "owed", at=now, values=values) is not None:
        raise Later(float(ctx.policy.notice_pause_seconds))


async def _close(ctx: "Context", begun: Notice, channel: Channel, outcome: str) -> None:
    """The receiver was told as far as can be; what happened meanwhile is owed when the pause is over."""
    now = ctx.clock.now()
    values = {"told": begun["telling"], "telling": None, "again": False, "outcome": _outcome(channel, outcome, now)}
    log.info("notice.told", visit=begun["visit"], receiver=begun["receiver"], channel=channel, outcome=outcome)
    if await ctx.notices.proceed(begun, "quiet", at=now, values=values, again=False) is not None:
        return
    if await ctx.notices.proceed(begun, "owed", at=now, values=values, again=True) is not None:
        raise Later(float(ctx.policy.notice_pause_seconds))


def _outcome(channel: Channel, outcome: str, at: datetime) -> dict[str, Any]:
    return {"channel": channel, "outcome": outcome, "at": at}


def _count(channel: str, outcome: str) -> None:
    metrics.NOTICES.labels(channel, outcome).inc()


async def _require(changing: Awaitable[Notice | None]) -> Notice:
    """The changed notice; `Later` when something happened since it was read, so that it is looked at anew."""
    changed = await changing
    if changed is None:
        raise Later(1)
    return changed


async def owe_step(ctx: "Context", visit: Visit) -> None:
    """Owe the notice of the newest step of the visit to the member it concerns, if they are offline."""
    concerned = rules.concerned(visit["history"])
    if concerned is None:
        return
    steps, receiver = concerned
    account = visit["patient_account"] if receiver == "patient" else visit["doctor_id"]
    if not await ctx.bus.is_online([account]):
        await owe(ctx, visit=visit["_id"], account=account, receiver=receiver, steps=steps)


async def owe_missed(ctx: "Context", visit: Visit, marks: Conversation | None) -> int:
    """Owe what a killed process could not: notices of unread messages to members who are offline; how many."""
    last = await ctx.messages.last_seq(visit["_id"], marks.get("last_seq", 0) if marks else 0)
    members: tuple[tuple[Receiver, str], ...] = (("patient", visit["patient_account"]), ("doctor", visit["doctor_id"]))
    missed = 0
    for receiver, account in members:
        after = max(marks.get("read", {}).get(account, 0) if marks else 0, last - LOOKED_AT)
        if after < last and await _is_missed(ctx, visit["_id"], account, after, last):
            await owe(ctx, visit=visit["_id"], account=account, receiver=receiver)
            missed += 1
    return missed


async def _is_missed(ctx: "Context", visit: str, account: str, after: int, last: int) -> bool:
    notice = await ctx.notices.of(visit, account)
    if notice is not None:
        if notice["status"] != "quiet":
            return False
        after = max(after, notice["told"]["seq"])
    unread = await ctx.messages.between(visit, after, last)
    return rules.may_be_missed(unread, account, ctx.clock.now()) and not await ctx.bus.is_online([account])
