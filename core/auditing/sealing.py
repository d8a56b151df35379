"""Sealing the audit trail: entries go into blocks, each of which holds the hash of the one before.

One worker at a time does it, under a lease; no request waits for it. What keeps the chain right is not the lease but
the order of three steps. A block is inserted under the number after the last, which can be written once. Then its
entries are marked with the number, then the sealer's head moves on. Who begins finishes the marking of the last block
before choosing entries, so that an entry is chosen only when no block has it; who was overtaken finds the number taken.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from core import metrics
from core.auditing import collecting, rules
from storage.audit import Block, Head

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

LEASE: Final = timedelta(seconds=30)
# Hashing an entry takes about 20 µs: a block keeps the loop for two milliseconds.
ENTRIES_A_BLOCK: Final = 100
BLOCKS_A_READ: Final = 20
READS_A_RUN: Final = 5
COUNTED: Final = 100_000


async def keep(ctx: "Context") -> int:
    """What a worker does every few seconds: measure, copy what moves owe, seal; how many blocks were made."""
    await measure(ctx)
    if not await _take(ctx):
        return 0
    await collecting.collect(ctx)
    return await seal(ctx)


async def seal(ctx: "Context") -> int:
    """Seal everything that waits, late entries too, within bounds; how many blocks were made."""
    last = await _finish_last(ctx)
    made = 0
    for _ in range(READS_A_RUN):
        waiting = await ctx.audit_entries.unsealed(ENTRIES_A_BLOCK * BLOCKS_A_READ)
        for start in range(0, len(waiting), ENTRIES_A_BLOCK):
            chosen = waiting[start : start + ENTRIES_A_BLOCK]
            block = rules.next_block(last["number"] + 1, last["hash"], chosen, ctx.clock.now())
            if not await ctx.audit_blocks.add(block):
                log.info("audit.overtaken", block=block["_id"])
                return made
            last, made = await _finish(ctx, block), made + 1
            metrics.AUDIT_BLOCKS.inc()
        if len(waiting) < ENTRIES_A_BLOCK * BLOCKS_A_READ or not await _take(ctx):
            break
    return made


async def measure(ctx: "Context") -> tuple[int, datetime | None]:
    """How many entries wait to be sealed, and when the oldest act happened that is not sealed; both go to /metrics."""
    count = await ctx.audit_entries.count_unsealed(COUNTED)
    first = await ctx.audit_entries.unsealed(1)
    waits = [moment for moment in (await collecting.oldest_waiting(ctx), *(one["at"] for one in first)) if moment]
    oldest = min(waits, default=None)
    metrics.AUDIT_UNSEALED.set(count)
    metrics.AUDIT_UNSEALED_AGE.set(max(0.0, (ctx.clock.now() - oldest).total_seconds()) if oldest else 0.0)
    return count, oldest


async def _take(ctx: "Context") -> bool:
    now = ctx.clock.now()
    return await ctx.audit_blocks.take(ctx.process, now=now, until=now + LEASE)


async def _finish_last(ctx: "Context") -> Head:
    """Where the chain ends, the entries of its last block marked even if its maker died before that."""
    last = await ctx.audit_blocks.head()
    while (block := await ctx.audit_blocks.get(last["number"] + 1)) is not None:
        last = await _finish(ctx, block)
    return last


async def _finish(ctx: "Context", block: Block) -> Head:
    await ctx.audit_entries.seal([sealed["id"] for sealed in block["entries"]], block["_id"])
    await ctx.audit_blocks.finish(block["_id"], block["hash"])
    # Logs are kept elsewhere: whoever rewrites the whole chain cannot make it end in what was told here.
    log.info("audit.sealed", block=block["_id"], hash=block["hash"], entries=block["count"])
    return Head(number=block["_id"], hash=block["hash"])
