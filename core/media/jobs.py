"""What is swept regularly: uploads that never became a medium."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from core.media import rules

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

_BATCH: Final = 100


async def collect_orphans(ctx: "Context") -> int:
    """Take away uploads begun `media_orphan_seconds` ago and not finished; how many. Several may run it at once.

    First their files go, their document only a second such time later and with the files once more: a process that
    was still writing, however slow, finds its upload discarded, and what it wrote after the first pass goes with the
    second.
    """
    age = timedelta(seconds=ctx.policy.media_orphan_seconds)
    now = ctx.clock.now()
    collected = 0
    for media in await ctx.media.made_before("uploading", now - age, _BATCH):
        if await ctx.media.discard(media["_id"]):
            await _delete_files(ctx, media["_id"])
            collected += 1
            log.info("media.orphan", media=media["_id"], account=media["owner"])
    for media in await ctx.media.made_before("discarded", now - 2 * age, _BATCH):
        await _delete_files(ctx, media["_id"])
        await ctx.media.remove(media["_id"])
    return collected


async def _delete_files(ctx: "Context", media_id: str) -> None:
    for file_id in rules.files_of(media_id):
        await ctx.files.delete(file_id)


# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[int]]]]] = [(600, collect_orphans)]
