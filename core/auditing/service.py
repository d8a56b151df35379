"""What the auditor reads: the entries, whether the chain holds, and a period as a whole."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.auditing import sealing
from core.auditing.chain import LISTED, Chain
from core.auditing.schemas import AuditEntryView
from storage.audit import AuditEntry

if TYPE_CHECKING:
    from core.context import Context

# A worker seals every few seconds; what waits longer is told as a fault.
SEALED_WITHIN: Final = timedelta(seconds=60)
_LINE: Final = AuditEntryView()


async def entries(
    ctx: "Context",
    *,
    limit: int,
    cursor: str | None,
    actor: str | None,
    act: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
) -> list[AuditEntry]:
    """Entries, newest first, one more than `limit` when there are more; filters are equalities."""
    return await ctx.audit_entries.page(
        limit=limit + 1, before=cursor, actor=actor, act=act, subject=subject, since=since, until=until
    )


async def check(ctx: "Context", *, after: int, limit: int) -> dict[str, Any]:
    """Check up to `limit` blocks above `after`, and what is loose behind them once the end is reached."""
    chain = Chain(ctx.audit_blocks, ctx.audit_entries)
    end = await chain.end()
    until = min(after + limit, end)
    findings = [fault async for _, faults in chain.faults(after, until) for fault in faults]
    count, oldest = await sealing.measure(ctx)
    now = ctx.clock.now()
    if until >= end:
        findings += [*await chain.loose_ends(end), *await chain.overdue(now - SEALED_WITHIN, LISTED)]
    age = (now - oldest).total_seconds() if oldest else 0.0
    return {
        "head": await ctx.audit_blocks.head(),
        "checked": max(0, until - after),
        "findings": findings,
        "unsealed": {"count": count, "oldest_at": oldest, "age_seconds": max(0.0, age)},
        "next_after": until if until < end else None,
    }


async def export(ctx: "Context", *, since: datetime, until: datetime) -> AsyncIterator[str]:
    """Every entry of a period, oldest first, a line of JSON each, in pieces of some hundred lines."""
    async for batch in ctx.audit_entries.between(since, until):
        yield lines(batch)


def lines(batch: list[AuditEntry]) -> str:
    """Entries as they stand in an export."""
    return "".join(json.dumps(_LINE.dump(entry), ensure_ascii=False) + "\n" for entry in batch)
