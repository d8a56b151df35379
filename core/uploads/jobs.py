"""What is swept regularly: uploads that are whole but whose examiner died, and those whose time is over."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from core.errors import AWAY, AppError
from core.uploads import service
from storage.uploads import UploadStatus

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

_BATCH: Final = 100
# The process that took the last byte examines it at once.
_GRACE: Final = timedelta(seconds=5)
_OVER: Final[tuple[UploadStatus, ...]] = ("discarded", "ready")


async def examine_received(ctx: "Context") -> int:
    """Make media of uploads that nobody is examining; how many became one. Several may run it at once."""
    made = 0
    for upload in await ctx.uploads.unclaimed(ctx.clock.now() - _GRACE, _BATCH):
        try:
            await service.complete(ctx, upload)
        except AppError as error:  # refused, or another was faster; its owner learns it when they ask
            log.info("upload.not_made", upload=upload["_id"], code=error.code)
        except AWAY:
            raise
        except Exception:  # one that cannot be made must not keep the others from it
            log.exception("upload.failed", upload=upload["_id"])
        else:
            made += 1
    return made


async def collect_expired(ctx: "Context") -> int:
    """Take away uploads whose time is over and that became nothing; how many. Several may run it at once.

    First their bytes go, their document only `media_orphan_seconds` later and with the bytes once more, as in
    `core/media/jobs.py`: what a writer, however slow, stored after the first pass goes with the second.
    """
    now = ctx.clock.now()
    collected = 0
    for status in service.UNFINISHED:
        for upload in await ctx.uploads.expired(status, now, _BATCH):
            if await ctx.uploads.discard(upload["_id"], status):
                await service.sweep(ctx, upload)
                collected += 1
                log.info("upload.expired", upload=upload["_id"], account=upload["owner"])
    before = now - timedelta(seconds=ctx.policy.media_orphan_seconds)
    for over in _OVER:
        for upload in await ctx.uploads.expired(over, before, _BATCH):
            await service.sweep(ctx, upload)
            await ctx.uploads.remove(upload["_id"])
    return collected


# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[int]]]]] = [
    (20, examine_received),
    (600, collect_expired),
]
