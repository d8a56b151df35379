"""What the cashier's office does by itself: every day's money is compared once its bill is there."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import metrics
from core.auth import SYSTEM
from core.cashier import rules, service
from core.errors import Conflict, ServiceUnavailable
from core.ids import china_today
from core.ports import Unavailable

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()


async def reconcile_days(ctx: "Context") -> None:
    """Compare the days nobody has compared; whoever comes first does, and what fails is tried again next time."""
    oldest = china_today(ctx.clock) - timedelta(days=rules.CAUGHT_UP + 2)
    done = await ctx.reconciliations.done_since(oldest.isoformat())
    waiting = rules.days_to_compare(ctx.clock.now(), done)
    metrics.UNRECONCILED.set(len(waiting))
    for day in waiting:
        try:
            await service.reconcile(ctx, day, by=SYSTEM)
            metrics.UNRECONCILED.dec()
        except (Conflict, ServiceUnavailable, Unavailable) as error:
            log.warning("reconciliation.later", day=day.isoformat(), why=type(error).__name__)


# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[Any]]]]] = [(600, reconcile_days)]
