"""The runner of duties and deadlines. What they do is in the features' `jobs.py`; this only decides who runs what when.

Any process may run a duty: it is leased by an atomic update, so two never run the same one at once, and a lease that
outlives its holder is simply due again. Duties of one document run in the order in which they were written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import metrics, tasks
from core.errors import AWAY
from core.ids import new_id
from core.outbox import Later, next_try
from core.ports import Rejected
from storage.moves import Duty, Moving, first_due

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# What a duty or a sweep is: the document as it stands now. Both must be safe to repeat.
DutyFunction = Callable[["Context", Any], Awaitable[None]]

LEASE: Final = timedelta(seconds=60)
DUTY_TIMEOUT_SECONDS: Final = 45  # below the lease: a holder that hangs gives up before another starts
BATCH: Final = 50


class DutyRunner:
    """Runs what documents owe. Bound to its context once, after everything has been put together."""

    def __init__(self, duties: Mapping[str, DutyFunction], deadlines: Mapping[str, DutyFunction]) -> None:
        self._duties = duties
        self._deadlines = deadlines
        self._repositories: dict[str, Moving] = {}
        self._ctx: Context | None = None

    def bind(self, ctx: "Context", repositories: Mapping[str, Moving]) -> None:
        """Give the runner its context and the collections it looks after, by name."""
        self._ctx = ctx
        self._repositories = dict(repositories)

    @property
    def ctx(self) -> "Context":
        """The context; a runner that was never bound is a mistake of the wiring."""
        if self._ctx is None:
            raise RuntimeError("DutyRunner.bind was not called")
        return self._ctx

    def kick(self, collection: str, document_id: str) -> None:
        """Run what this document owes now, beside the caller: for duties that ask outside systems."""
        tasks.spawn(f"duties.{collection}", self.run_now(collection, document_id))

    async def run_now(self, collection: str, document_id: str) -> None:
        """Run what this document owes, one after the other, until nothing is due; failures are left to the worker."""
        repository = self._repositories[collection]
        while True:
            document = await repository.get(document_id)
            if document is None or not await self._run_first(collection, repository, document):
                return

    async def run_due(self) -> int:
        """One pass over all collections: duties that are due and deadlines that have come. How many were run."""
        ran = 0
        for collection, repository in self._repositories.items():
            for document in await repository.due(self.ctx.clock.now(), BATCH):
                ran += await self._run_first(collection, repository, document)
            ran += await self._sweep(collection, repository)
        return ran

    async def run_forever(self, pause_seconds: float = 1.0) -> None:
        """The worker's loop: pass after pass, pausing only when there was nothing to do."""
        while True:
            try:
                ran = await self.run_due()
            except AWAY as error:
                log.warning("worker.store_away", error=type(error).__name__)
                ran = 0
            if not ran:
                await asyncio.sleep(pause_seconds)

    async def _sweep(self, collection: str, repository: Moving) -> int:
        run = self._deadlines.get(collection)
        if run is None:
            return 0
        overdue = await repository.overdue(self.ctx.clock.now(), BATCH)
        moved = 0
        for document in overdue:
            try:
                await asyncio.wait_for(run(self.ctx, document), DUTY_TIMEOUT_SECONDS)
                moved += 1
                metrics.SWEPT.labels(collection).inc()
            except AWAY as error:
                log.warning("deadline.away", collection=collection, id=document["_id"], error=type(error).__name__)
            except Exception:
                log.exception("deadline.failed", collection=collection, id=document["_id"])
        return moved

    async def _run_first(self, collection: str, repository: Moving, document: Any) -> bool:
        """Lease and run the first living duty of a document when its time has come; False: nothing was run."""
        now = self.ctx.clock.now()
        duty = first_due(document, now)
        if duty is None or duty["next_at"] is None:
            return False
        token = new_id()
        leased = await repository.lease(
            document["_id"], duty["key"], seen_next_at=duty["next_at"], token=token, until=now + LEASE
        )
        if not leased:
            return False
        await self._run_leased(collection, repository, document["_id"], duty, token)
        return True

    async def _run_leased(self, collection: str, repository: Moving, id_: str, duty: Duty, token: str) -> None:
        kind, key = duty["kind"], duty["key"]
        try:
            with metrics.DUTY_SECONDS.labels(kind).time():
                document = await repository.get(id_)
                await asyncio.wait_for(self._duties[kind](self.ctx, document), DUTY_TIMEOUT_SECONDS)
        except Later as later:
            again = self.ctx.clock.now() + timedelta(seconds=later.seconds)
            await repository.postpone(id_, key, token, again, "", counted=False)
            metrics.DUTIES.labels(kind, "later").inc()
        except Rejected as error:
            await self._bury(collection, repository, id_, duty, token, f"rejected {error.code}")
        except Exception as error:
            await self._failed(collection, repository, id_, duty, token, error)
        else:
            await repository.finish(id_, key, token)
            metrics.DUTIES.labels(kind, "done").inc()

    async def _failed(
        self, collection: str, repository: Moving, id_: str, duty: Duty, token: str, error: Exception
    ) -> None:
        away = isinstance(error, (*AWAY, TimeoutError))
        log.log(30 if away else 40, "duty.failed", kind=duty["kind"], id=id_, exc_info=None if away else error)
        again = next_try(duty["attempts"] + 1, self.ctx.clock.now())
        if again is None:
            await self._bury(collection, repository, id_, duty, token, type(error).__name__)
            return
        await repository.postpone(id_, duty["key"], token, again, type(error).__name__)
        metrics.DUTIES.labels(duty["kind"], "failed").inc()

    async def _bury(self, collection: str, repository: Moving, id_: str, duty: Duty, token: str, why: str) -> None:
        await repository.bury(id_, duty["key"], token, why)
        metrics.DUTIES.labels(duty["kind"], "dead").inc()
        metrics.DUTIES_DEAD.labels(duty["kind"]).inc()
        log.error("duty.dead", kind=duty["kind"], collection=collection, id=id_, why=why)
