"""The ops of the websocket, one table: who may call each, what it takes, what it answers, what runs.

An op that is not in the table, or names no role, is refused to everybody. AsyncAPI is read off the table.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.auth import EVERY_ROLE, PARTICIPANTS
from core.commands import Command, Outcome, Session
from core.wire import rfc3339
from im import arguments, schemas, service
from im.chat import Chat
from im.sync import sync


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
