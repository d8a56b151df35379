"""Copying the steps of documents into the audit trail: what a change owes by the same update that made it.

Safe to repeat and to run twice at once: the id of an entry follows from its document and the step's number. A document
that changes while it is copied goes on waiting, and nothing of it is lost by a kill between any two lines here.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.auditing import rules
from storage.traced import MARK, Traced

if TYPE_CHECKING:
    from core.context import Context

BATCH: Final = 100


async def collect(ctx: "Context") -> int:
    """Copy what documents owe to the trail; how many entries that were. Up to `BATCH` documents of each kind."""
    return sum([await _collect(ctx, name) for name in rules.KINDS])


async def _collect(ctx: "Context", name: str) -> int:
    repository = _repository(ctx, name)
    waiting = await repository.unaudited(BATCH)
    if not waiting:
        return 0
    years = ctx.policy.retain_audit_years
    entries = [entry for document in waiting for entry in rules.entries_of(name, document, years)]
    for start in range(0, len(entries), BATCH):
        await ctx.audit.add(entries[start : start + BATCH])
    for document in waiting:
        await repository.note_audited(document["_id"], rules.copied_steps(name, document))
    return len(entries)


async def oldest_waiting(ctx: "Context") -> datetime | None:
    """Since when the longest waiting of some steps waits to be copied; None: none does."""
    found = [await _repository(ctx, name).unaudited(BATCH) for name in rules.KINDS]
    return min((document[MARK] for some in found for document in some), default=None)


def _repository(ctx: "Context", name: str) -> Traced:
    repository: Traced = getattr(ctx, name)
    return repository
