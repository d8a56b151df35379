"""Catching up: what a client that was away has missed, in pages that fit a frame."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from core import audit
from core.auth import Actor
from core.commands import Session
from core.errors import NotFound
from im.chat import Chat
from im.entries import read
from im.frames import FRAME_BYTES
from im.schemas import CURSORS_HIGH
from im.standing import standing_of

if TYPE_CHECKING:
    from storage.conversations import Conversation
    from storage.visits import Visit

# What one answer may weigh: the frame's limit less its envelope.
_PAGE_BYTES: Final = FRAME_BYTES - 2_048
# A conversation without messages: id, visit, marks. All of them leave room for the longest message, 17 kB.
_HEAD_BYTES: Final = 350
# A live call, of which a person has at most one.
_CALL_BYTES: Final = 700
# Conversations read at the same time for one client.
_AT_ONCE: Final = 8


async def sync(chat: Chat, session: Session, args: dict[str, Any]) -> dict[str, Any]:
    """`SyncPage` of the schemas: what lies above the client's cursors, lowest first.

    Without cursors every open conversation, the newest hundred, from its first message on; `GET /visits` lists older
    ones, which can be asked for by cursors. A page ends where the frame is full; `more` says in which conversations,
    and the client goes on with its new cursors. Raises NotFound for another's conversation.
    What is shown is in the audit trail before it is answered.
    """
    cursors: Mapping[str, int] | None = args["cursors"]
    visits = await _visits(chat, session, cursors)
    listed = visits[:CURSORS_HIGH]
    marks = await chat.ctx.conversations.many([visit["_id"] for visit in listed])
    call = await chat.ctx.live_calls.of(session.account, session.role)
    budget = _PAGE_BYTES - _HEAD_BYTES * len(listed) - (_CALL_BYTES if call is not None else 0)
    pages: list[dict[str, Any]] = []
    for start in range(0, len(listed), _AT_ONCE):
        group = listed[start : start + _AT_ONCE]
        reads = [_read(chat, visit, (cursors or {}).get(visit["_id"], 0), args["limit"], marks) for visit in group]
        for visit, (messages, last) in zip(group, await asyncio.gather(*reads), strict=True):
            fitting, weight = _fitting(messages, budget)
            budget -= weight
            cursor = (cursors or {}).get(visit["_id"], 0)
            here = call if call is not None and call["conversation"] == visit["_id"] else None
            pages.append(_page(chat, visit, cursor, fitting, last, marks.get(visit["_id"])) | {"call": here})
    await _note_read(chat, session, pages)
    return {"conversations": pages, "more": len(visits) > len(listed) or any(page["more"] for page in pages)}


async def _note_read(chat: Chat, session: Session, pages: list[dict[str, Any]]) -> None:
    """An entry of the audit trail for each conversation of which messages are shown, in one write."""
    reader = Actor(session.account, session.role)
    shown = [page["id"] for page in pages if page["messages"]]
    await audit.append_all(chat.ctx, [audit.Act(reader, "visit.messages", f"visit:{id_}") for id_ in shown])


async def _visits(chat: Chat, session: Session, cursors: Mapping[str, int] | None) -> "list[Visit]":
    if cursors is None:
        return list(await chat.ctx.visits.open_of(session.account, session.role))
    found = await asyncio.gather(*(chat.ctx.visits.get(conversation) for conversation in cursors))
    visits = [cast("Visit", visit) for visit in found if visit is not None]
    if len(visits) < len(cursors) or any(session.account not in standing_of(visit, 0).members for visit in visits):
        raise NotFound
    return visits


async def _read(
    chat: Chat, visit: "Visit", cursor: int, limit: int, marks: "Mapping[str, Conversation]"
) -> tuple[list[dict[str, Any]], int]:
    """The next messages and the conversation's last number."""
    id_ = visit["_id"]
    found = await chat.ctx.messages.between(id_, cursor, cursor + limit)
    shown = [read(chat.ctx.cipher, message) for message in found]
    if len(found) < limit and (found or cursor == 0):
        return shown, cursor + len(found)  # numbers have no gaps, so a short page ends at the last one
    known = max(cursor + len(found) if found else 0, chat.journal.known_seq(id_), _marked(marks.get(id_)))
    return shown, await chat.ctx.messages.last_seq(id_, known)


def _marked(mark: "Conversation | None") -> int:
    return mark["last_seq"] if mark is not None else 0


def _fitting(messages: list[dict[str, Any]], budget: int) -> tuple[list[dict[str, Any]], int]:
    """As many of the first messages as the frame still holds, and what they weigh."""
    weight = 0
    for number, message in enumerate(messages):
        # An upper bound of its bytes: what JSON escapes, it escapes here too.
        size = len(json.dumps(message, ensure_ascii=False).encode()) + 2
        if weight + size > budget:
            return messages[:number], weight
        weight += size
    return messages, weight


def _page(
    chat: Chat,
    visit: "Visit",
    cursor: int,
    messages: list[dict[str, Any]],
    last: int,
    mark: "Conversation | None",
) -> dict[str, Any]:
    read_marks = dict(mark["read"]) if mark is not None and "read" in mark else {}
    for account, seq in chat.marks.unwritten(visit["_id"]).items():
        read_marks[account] = max(seq, read_marks.get(account, 0))
    reached = cursor + len(messages)
    return {
        "id": visit["_id"],
        "visit": {"id": visit["_id"], "status": visit["status"]},
        "last_seq": last,
        "messages": messages,
        "more": reached < last,
        "read": read_marks,
    }
