"""The ops of the websocket, one table: who may call each, what it takes, what it answers, what runs.

An op that is not in the table, or names no role, is refused to everybody. AsyncAPI is read off the table.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import Schema, ValidationError

from core.auth import EVERY_ROLE, PARTICIPANTS
from core.errors import Invalid
from core.ports import Posted
from core.wire import rfc3339
from im import arguments, schemas, service
from im.chat import Chat, Session
from im.sync import sync

Answer = dict[str, Any]
# At once; or when the message is durable; or after something has been read first.
Outcome = Answer | asyncio.Future[Posted] | Awaitable[Answer | Posted | asyncio.Future[Posted]]


@dataclass(frozen=True)
class Command:
    """One op. `run(chat, session, request id, args)` may answer at once, or with something to wait for.

    `check` is a quick form of `args` for the busiest ops: what it accepts the schema would load to the same; None
    leaves the word to the schema. Requests of an `ordered` op keep their order within a conversation. Events wait while
    a `holds_events` op runs, and what its answer already shows is left out of them. `call_scope` lets in tokens that
    are bound to one call.
    """

    roles: frozenset[str]
    summary: str
    args: Schema
    answer: Schema
    run: Callable[[Chat, Session, str, dict[str, Any]], Outcome]
    errors: tuple[str, ...] = ()
    check: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None
    ordered: bool = False
    holds_events: bool = False
    call_scope: bool = False

    def load(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the op takes them; `Invalid` when they are not of its form."""
        if self.check is not None and (checked := self.check(args)) is not None:
            return checked
        try:
            loaded: dict[str, Any] = self.args.load(args)
        except ValidationError as error:
            raise Invalid from error
        return loaded


def _ping(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return {"server_time": rfc3339(chat.ctx.clock.now())}


def _send(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return service.send(chat, session, request, args)


def _recall(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return service.recall(chat, session, args)


def _read(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return service.mark_read(chat, session, args)


def _typing(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return service.show_typing(chat, session, args)


def _sync(chat: Chat, session: Session, request: str, args: dict[str, Any]) -> Outcome:
    return sync(chat, session, args)


# `hello` stands beside the table: it is what makes a session out of a socket.
COMMANDS: Final[Mapping[str, Command]] = {
    "ping": Command(
        roles=EVERY_ROLE,
        summary="心跳与服务器时间",
        args=schemas.Nothing(),
        answer=schemas.ServerTime(),
        run=_ping,
        check=arguments.nothing,
        call_scope=True,
    ),
    "sync": Command(
        roles=PARTICIPANTS,
        summary="补齐离线期间的消息",
        args=schemas.Sync(),
        answer=schemas.SyncPage(),
        run=_sync,
        errors=("not_found",),
        holds_events=True,
    ),
    "message.send": Command(
        roles=PARTICIPANTS,
        summary="发送消息",
        args=schemas.Send(),
        answer=schemas.Ack(),
        run=_send,
        errors=("not_found", "wrong_state", "idempotency_conflict", "rate_limited", "overloaded"),
        check=arguments.send,
        ordered=True,
    ),
    "message.recall": Command(
        roles=PARTICIPANTS,
        summary="撤回两分钟内自己发送的消息",
        args=schemas.Line(),
        answer=schemas.Ack(),
        run=_recall,
        errors=("not_found", "forbidden", "wrong_state", "overloaded"),
        ordered=True,
    ),
    "message.read": Command(
        roles=PARTICIPANTS,
        summary="标记已读位置",
        args=schemas.Line(),
        answer=schemas.Nothing(),
        run=_read,
        errors=("not_found",),
        check=arguments.line,
    ),
    "typing": Command(
        roles=PARTICIPANTS,
        summary="正在输入",
        args=schemas.Room(),
        answer=schemas.Nothing(),
        run=_typing,
        errors=("not_found",),
        check=arguments.room,
    ),
}
