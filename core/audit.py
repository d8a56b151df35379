"""The audit trail as features write it: who did what to what, appended before the answer leaves (R5-7).

Moves need no call: the update that changes a document owes its step to the trail (`storage/traced.py`). Everything else
that must leave a trace is one `append`: reads of records (the sign of a door says so, `core/http.py`), logins, runs. An
entry holds ids and names of acts, never personal data; who asks and from where is known from the request under way.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core import tasks
from core.auth import Actor
from core.compliance import years_later
from core.ids import id_at
from storage.audit import UNSEALED, AuditEntry, AuditEntryRepository

if TYPE_CHECKING:
    from core.context import Context

# Who has not shown who they are.
NOBODY: Final = Actor("anonymous", "anonymous")
ACT: Final = re.compile(r"[a-z_]+\.[a-z_]+")
REASON: Final = re.compile(r"[a-z_]{1,40}")
# Entries of requests that came together go in one write of at most so many.
TOGETHER: Final = 200


@dataclass(frozen=True)
class Request:
    """The request under way: its id, as logs and problem documents carry it, and the network address it came from."""

    id: str
    address: str


# Set by the doors; what a request starts beside itself inherits it.
asked: ContextVar[Request | None] = ContextVar("asked", default=None)


@dataclass(frozen=True)
class Act:
    """What is to be appended; `subject` is a kind and an id, `reason` one word."""

    by: Actor
    act: str
    subject: str | None = None
    reason: str | None = None


class AuditTrail:
    """One a process: writes what requests append at the same time in one insert, and lets each wait for it."""

    def __init__(self, entries: AuditEntryRepository) -> None:
        self._entries = entries
        self._queue: list[tuple[Sequence[AuditEntry], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Returns when they are stored; raises what the store raises, then nobody may be shown what they tell of."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((entries, stored))
        if self._writer is None or self._writer.done():
            self._writer = tasks.spawn("audit.write", self._write())
        await stored

    async def _write(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:TOGETHER], self._queue[TOGETHER:]
            try:
                await self._entries.add([entry for entries, _ in batch for entry in entries])
            except BaseException as error:
                _fail(batch, error)
                if not isinstance(error, Exception):
                    raise
            else:
                for _, stored in batch:
                    if not stored.done():
                        stored.set_result(None)


def _fail(batch: Iterable[tuple[Any, "asyncio.Future[None]"]], error: BaseException) -> None:
    for _, stored in batch:
        if not stored.done() and isinstance(error, Exception):
            stored.set_exception(error)
        else:
            stored.cancel()


async def append(ctx: "Context", by: Actor, act: str, *, subject: str | None = None, reason: str | None = None) -> None:
    """Append one entry and wait until it is stored. `subject` is a kind and an id (`visit:01J…`), `reason` one word.

    Raises what the store raises when it is away: the caller then shows nothing. ValueError for an act or a reason that
    is not of its form, for that could be somebody's words.
    """
    await append_all(ctx, [Act(by, act, subject, reason)])


async def append_all(ctx: "Context", acts: Sequence[Act]) -> None:
    """The same for several at once; none is appended for none."""
    if not acts:
        return
    now, request = ctx.clock.now(), asked.get()
    await ctx.audit.add([entry_of(one, now, request, ctx.policy.retain_audit_years) for one in acts])


def entry_of(one: Act, at: datetime, request: Request | None, years: int) -> AuditEntry:
    """The entry as it is stored, with an id of its own."""
    if not ACT.fullmatch(one.act):
        raise ValueError(f"{one.act!r} is no dotted name")
    if one.reason is not None and not REASON.fullmatch(one.reason):
        raise ValueError("a reason in the audit trail is one word")
    return AuditEntry(
        _id=id_at(at),
        at=at,
        actor=one.by.id,
        role=one.by.role,
        act=one.act,
        subject=one.subject,
        frm=None,
        to=None,
        reason=one.reason,
        request=request.id if request else None,
        address=request.address if request else None,
        retain_until=years_later(at, years),
        block=UNSEALED,
    )
