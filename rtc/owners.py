"""Media processes that are gone: their calls are set free, so that the first one asked takes them over."""

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from rtc import legs

if TYPE_CHECKING:
    from core.context import Context
    from storage.calls import Call

log = structlog.get_logger()

LOOKED_AT: Final = 500
# Between the two looks of which both must miss a process: a link to Redis that breaks and returns takes less.
AGAIN_SECONDS: Final = 1.0


async def release_lost(ctx: "Context") -> None:
    """Look once, and again for those that were missed; raises one of `AWAY` when a store is away: nobody is lost then.

    A process is lost when nobody listens to its channel any more, or when it has not beaten for three seconds.
    """
    suspects = await _missed(ctx, await ctx.calls.owned(LOOKED_AT))
    if not suspects:
        return
    await asyncio.sleep(AGAIN_SECONDS)
    for call in await _missed(ctx, suspects):
        log.warning("call.media_lost", call=call["_id"], owner=call["owner"])
        await legs.release(ctx, call["_id"], owner=call["owner"] or "")


async def _missed(ctx: "Context", calls: "list[Call]") -> "list[Call]":
    owners = {call["owner"] for call in calls if call["owner"] is not None}
    if not owners:
        return []
    here = await ctx.heartbeats.living()
    listening = await ctx.bus.listening(owners)
    return [call for call in calls if call["owner"] not in here or call["owner"] not in listening]
