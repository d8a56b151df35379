"""What members may do in a conversation: say, take back, mark as read, show that they type, and read what was said.

`send` is on the path of every message. It answers without waiting where everything it must know is at hand, and its
order decides: whoever is sent first is numbered first.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from core import events
from core.auth import Caller
from core.commands import Session
from core.errors import AppError, Conflict, Forbidden, Invalid, NotFound, RateLimited, WrongState
from core.media import service as media
from core.metrics import RATE_LIMITED
from core.ports import Posted
from im.chat import Chat
from im.entries import SYSTEM, is_same_said, key_of, posted, read
from im.standing import Standing, standing_of

if TYPE_CHECKING:
    from core.context import Context

RECALL_SECONDS: Final = 120
SPOKEN_IN: Final = "in_progress"
_WITH_MEDIA: Final = frozenset({"image", "video"})


def send(
    chat: Chat, session: Session, request: str, args: dict[str, Any]
) -> "asyncio.Future[Posted] | Coroutine[Any, Any, asyncio.Future[Posted]]":
    """Take a message in: a future of its place, or a coroutine that ends with one where something must be read first.

    A repeat is answered as the first time whatever the visit's state is by now. Refused, with nothing stored:
    `rate_limited`, `not_found` (another's visit or medium), `wrong_state`, `idempotency_conflict`, `overloaded`.
    """
    wait = chat.sends.take(session.account)
    if wait:
        RATE_LIMITED.labels("chat.messages").inc()
        raise RateLimited(retry_after=wait)
    standing = chat.standings.fresh(args["conversation"])
    if standing is None or standing.status != SPOKEN_IN or args["kind"] in _WITH_MEDIA:
        return _send_slowly(chat, session, request, args)
    _require_member(standing, session.account)
    return _post(chat, session, request, args, standing)


async def _send_slowly(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> "asyncio.Future[Posted]":
    try:
        standing = await chat.standings.get(args["conversation"])
        _require_member(standing, session.account)
        if standing.status != SPOKEN_IN:
            raise WrongState
        if args["kind"] in _WITH_MEDIA:
            await _share(chat, session, args, standing)
    except AppError:
        earlier = await _earlier(chat, session, request, args)
        if earlier is None:
            raise
        return earlier
    return _post(chat, session, request, args, standing)


async def _share(chat: Chat, session: Session, args: dict[str, Any], standing: Standing) -> None:
    """Let the other member see the medium; `NotFound` or `Invalid` unless it is the sender's, finished, of the kind."""
    await media.attach(
        chat.ctx,
        media_ids=[args["body"]["media"]],
        owner=session.account,
        visit_id=args["conversation"],
        readers=standing.to,
        kinds={args["kind"]},
        retain_years=chat.ctx.policy.retain_chat_years,
    )


async def _earlier(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> "asyncio.Future[Posted] | None":
    """The place this request was given when it was first sent; None: this is the first time."""
    stored = await chat.ctx.messages.get(key_of(session.account, session.device, args["conversation"], request))
    if stored is None:
        return None
    if not is_same_said(stored, args["kind"], args["body"], chat.ctx.cipher):
        raise Conflict(code="idempotency_conflict")
    place: asyncio.Future[Posted] = asyncio.get_running_loop().create_future()
    place.set_result(posted(stored, dup=True))
    return place


def _post(
    chat: Chat, session: Session, request: str, args: dict[str, Any], standing: Standing
) -> "asyncio.Future[Posted]":
    conversation = args["conversation"]
    return chat.journal.post(
        key=key_of(session.account, session.device, conversation, request),
        conversation=conversation,
        account=session.account,
        role=session.role,
        kind=args["kind"],
        body=args["body"],
        to=standing.to,
    )


def _require_member(standing: Standing, account: str) -> None:
    if account not in standing.members:
        raise NotFound


async def _member_standing(chat: Chat, session: Session, conversation: str) -> Standing:
    standing = await chat.standings.get(conversation)
    _require_member(standing, session.account)
    return standing


async def recall(chat: Chat, session: Session, args: dict[str, Any]) -> Posted:
    """Hide one's own message of the last two minutes, and say so by a system message; its place is the answer.

    A repeat finds both, whenever it comes. The hiding comes first: a stop in between shows nobody what was taken back,
    and the repeat, which the missing answer asks for, adds the rest. Raises NotFound, Forbidden for another's message,
    WrongState when it is too late or nothing one can recall.
    """
    conversation, seq = args["conversation"], args["seq"]
    await _member_standing(chat, session, conversation)
    message = await chat.ctx.messages.at(conversation, seq)
    if message is None:
        raise NotFound
    if message["account"] != session.account:
        raise Forbidden("只能撤回自己的消息" if message["account"] != SYSTEM else "系统消息不能撤回")
    if message["recalled_at"] is None:
        now = chat.ctx.clock.now()
        if now - message["at"] > timedelta(seconds=RECALL_SECONDS):
            raise WrongState("消息发出超过2分钟，不能撤回")
        await chat.ctx.messages.recall(message["_id"], now)
    return await chat.journal.append(
        conversation, kind="system", body={"recalls": seq}, cause=f"message:{conversation}:{seq}:recalled"
    )


async def mark_read(chat: Chat, session: Session, args: dict[str, Any]) -> dict[str, Any]:
    """Note how far this member has read and tell both; marks only rise. `Invalid` beyond the last message."""
    conversation, seq = args["conversation"], args["seq"]
    standing = await _member_standing(chat, session, conversation)
    if seq > chat.journal.known_seq(conversation) and seq > await chat.journal.last_seq(conversation):
        raise Invalid.field("seq", "没有这条消息")
    if seq > chat.marks.unwritten(conversation).get(session.account, 0):
        chat.marks.read(conversation, session.account, seq)
        told = {"conversation": conversation, "account": session.account, "seq": seq}
        await events.publish(chat.ctx, "message.read", to=standing.to, data=told)
    return {}


async def show_typing(chat: Chat, session: Session, args: dict[str, Any]) -> dict[str, Any]:
    """Tell the other member, at most once in three seconds; more is dropped. Nothing is stored."""
    conversation = args["conversation"]
    standing = await _member_standing(chat, session, conversation)
    if chat.typing.passes((session.account, conversation)):
        others = [account for account in standing.to if account != session.account]
        told = {"conversation": conversation, "account": session.account}
        await events.publish(chat.ctx, "typing", to=others, data=told)
    return {}


async def history(
    ctx: "Context", *, caller: Caller, conversation: str, before: int | None, after: int | None, limit: int
) -> dict[str, Any]:
    """A stretch of a conversation, lowest number first: `limit` messages below `before`, above `after`, or the latest.

    Raises NotFound unless the caller is the visit's patient or doctor.
    """
    visit = await ctx.visits.get(conversation)
    if visit is None or caller.id not in standing_of(visit, 0).members:
        raise NotFound
    last = await ctx.messages.last_seq(conversation)
    if after is not None:
        low, high = after, min(after + limit, last)
        more = high < last
    else:
        high = min(before - 1, last) if before is not None else last
        low = max(0, high - limit)
        more = low > 0
    found = await ctx.messages.between(conversation, low, high)
    return {"items": [read(ctx.cipher, message) for message in found], "last_seq": last, "more": more}
