"""What a part of the hospital puts on the websocket: ops with who may ask them, events with what they hold.

Each part exports its own table and `app/wiring.py` merges them; `im` reads the frames and runs the ops without knowing
whose they are. A table's ops are refused to everybody whose role they do not name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError

from core.errors import Invalid
from core.ports import Posted

Answer = dict[str, Any]
# At once; or when the message is durable; or after something has been read first.
Outcome = Answer | asyncio.Future[Posted] | Awaitable[Answer | Posted | asyncio.Future[Posted]]


@dataclass(slots=True, eq=False)
class Session:
    """One authenticated socket: `id` is its own, `login` the one its token stands on, `expires_at` in epoch
    seconds, `opened_at` of the loop's clock, `address` the network address it came from."""

    id: str
    account: str
    role: str
    device: str
    login: str
    expires_at: int
    scope: str
    call: str | None
    opened_at: float = 0.0
    address: str = ""


@dataclass(frozen=True)
class Command:
    """One op. `run(chat, session, request id, args)` may answer at once, or with something to wait for.

    `chat` is what `im` works with; other parts use its `ctx` alone. `check` is a quick form of `args` for the busiest
    ops: what it accepts the schema would load to the same; None leaves the word to the schema. Requests of an `ordered`
    op keep their order within a conversation. Events wait while a `holds_events` op runs, and what its answer already
    shows is left out of them. `call_scope` lets in tokens that are bound to one call.
    """

    roles: frozenset[str]
    summary: str
    args: Schema
    answer: Schema
    run: Callable[[Any, Session, str, dict[str, Any]], Outcome]
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


@dataclass(frozen=True)
class Event:
    """One event: who is told, and what its `data` holds."""

    summary: str
    data: Schema
