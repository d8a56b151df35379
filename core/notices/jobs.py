"""The duty that tells a notice, and the search for those that a kill kept from being owed."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import structlog

from core.jobs import DutyFunction
from core.notices import service

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

_BATCH: Final = 100


async def find_missed(ctx: "Context") -> int:
    """Owe the notices of unread messages whose process was killed between storing and owing; how many.

    A look over all visits in progress, one read a visit where nothing is unread. Several may run it at once.
    """
    missed, after = 0, ""
    while ctx.bus.available and (visits := await ctx.visits.in_progress(after=after, limit=_BATCH)):
        marks = await ctx.conversations.many([visit["_id"] for visit in visits])
        for visit in visits:
            missed += await service.owe_missed(ctx, visit, marks.get(visit["_id"]))
        after = visits[-1]["_id"]
    if missed:
        log.info("notices.missed", count=missed)
    return missed


DUTIES: Final[dict[str, DutyFunction]] = {"notice.send": service.send}
# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[int]]]]] = [(600, find_missed)]
