"""Every hour: has every call that ended its recording, and does every stored file belong to a call?

What is found wrong is marked on the call, counted, and logged as an error when it is new. Nothing is deleted.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from rtc import films, metrics, parts
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# A call that ended so long ago is collected unless something is wrong; a file so old is written down.
GRACE: Final = timedelta(minutes=15)


async def reconcile(ctx: "Context") -> None:
    """Look at every call that has ended and at every file. Several workers may do it at once."""
    await _calls(ctx)
    await _files(ctx)


async def _calls(ctx: "Context") -> None:
    latest = ctx.clock.now() - GRACE
    faulty = 0
    async for batch in ctx.calls.ended():
        due = [call for call in batch if call["ended_at"] is not None and call["ended_at"] <= latest]
        stored = await ctx.files.sizes([file for call in due for file in parts.files(call)])
        faulty += sum([await _call(ctx, call, stored) for call in due])
    metrics.RECORDINGS_FAULTY.set(faulty)


async def _call(ctx: "Context", call: Call, stored: dict[str, int]) -> bool:
    found = parts.faults(call, stored)
    if found != call["recording_faults"]:
        await ctx.calls.set_recording_faults(call["_id"], found)
        if found:
            log.error("call.recording_faulty", call=call["_id"], faults=found)
    if parts.film_to_make(call, ctx.clock.now()) is not None:
        await films.settle(ctx, call["_id"], complete=True)
    return bool(found)


async def _files(ctx: "Context") -> None:
    orphaned = 0
    async for batch in ctx.files.names(parts.PREFIX, until=ctx.clock.now() - GRACE):
        calls = await ctx.calls.many({parts.call_of(file) for file in batch})
        strays = [file for file in batch if not parts.owns(calls.get(parts.call_of(file)), file)]
        for file in strays:
            log.error("call.recording_file_orphaned", file=file)
        orphaned += len(strays)
    metrics.FILES_ORPHANED.set(orphaned)
