"""The runner of duties and deadlines. What they do is in the features' `jobs.py`; this only decides who runs what when.

Any process may run a duty: it is leased by an atomic update, so two never run the same one at once, and a lease that
outlives its holder is simply due again. Duties of one document run in the order in which they were written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import metrics, tasks
from core.errors import AWAY
from core.ids import new_id
from core.outbox import MAX_ATTEMPTS, Later, next_try
from core.ports import Rejected
from storage.moves import Duty, Moving, first_due

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# What a duty or a sweep is: the document as it stands now. Both must be safe to repeat.
DutyFunction = Callable[["Context", Any], Awaitable[None]]
Work = Callable[[], Awaitable[bool]]

LEASE: Final = timedelta(seconds=60)
# The process that wrote a duty runs it at once; the worker takes what is left over, so that nobody's answer waits for
# a duty that another process has just leased.
GRACE: Final = timedelta(seconds=2)
DUTY_TIMEOUT_SECONDS: Final = 45  # below the lease: a holder that hangs gives up before another starts
BATCH: Final = 50
BESIDE: Final = 8  # documents at a time; outside systems allow us few connections, and a pass ends with its slowest
LATER_AT_LEAST: Final = 1.0  # a duty that says "at once" must not spin
SWEEP_AGAIN: Final = timedelta(seconds=60)


class UnknownDuty(Exception):
    """A document owes something that no function of this version does."""


async def count_owed(ctx: "Context") -> None:
    """`DutyRunner.count` as the worker repeats it."""
    await ctx.duties.count()


# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[Any]]]]] = [(30, count_owed)]


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
        try:
            while (document := await repository.get(document_id)) is not None:
                if not await self._run_first(collection, repository, document):
                    return
        except AWAY as error:  # what is owed is stored, and the caller's own work is done
            log.warning("duties.store_away", collection=collection, id=document_id, error=type(error).__name__)

    async def run_due(self, *, grace: timedelta = timedelta(0)) -> int:
        """One pass over all collections: duties due for `grace`, and deadlines that have come. How many were run.

        Documents go beside each other, so that one whose outside system hangs does not hold up the others.
        """
        ran = 0
        for collection, repository in self._repositories.items():
            due = await repository.due(self.ctx.clock.now() - grace, BATCH)
            works: list[Work] = [partial(self._run_first, collection, repository, document) for document in due]
            if collection in self._deadlines:
                overdue = await repository.overdue(self.ctx.clock.now(), BATCH)
                works += [partial(self._sweep, collection, repository, document) for document in overdue]
            ran += await _beside_each_other(works)
        return ran

    async def count(self) -> None:
        """Bring the gauges of what is owed up to date; a kind that is owed no longer goes back to nought."""
        now = self.ctx.clock.now()
        owed = [one for repository in self._repositories.values() for one in await repository.owed()]
        for kind in self._duties:
            ours = [one for one in owed if one.kind == kind]
            times = [one.oldest for one in ours if one.oldest is not None]
            metrics.DUTIES_WAITING.labels(kind).set(sum(one.waiting for one in ours))
            metrics.DUTIES_LEFT.labels(kind).set(sum(one.dead for one in ours))
            metrics.DUTIES_LATE.labels(kind).set(max([0.0, *((now - at).total_seconds() for at in times)]))

    async def run_forever(self, pause_seconds: float = 1.0) -> None:
        """The worker's loop: pass after pass, pausing only when there was nothing to do. Only cancelling ends it."""
        while True:
            try:
                ran = await self.run_due(grace=GRACE)
            except AWAY as error:
                log.warning("worker.store_away", error=type(error).__name__)
                ran = 0
            except Exception:
                log.exception("worker.failed")
                ran = 0
            if not ran:
                await asyncio.sleep(pause_seconds)

    async def _sweep(self, collection: str, repository: Moving, document: Any) -> bool:
        """Do what the document's deadline asks. One that stands afterwards is put off: it would head every pass."""
        id_, seen = document["_id"], document["deadline_at"]
        try:
            await asyncio.wait_for(self._deadlines[collection](self.ctx, document), DUTY_TIMEOUT_SECONDS)
        except AWAY as error:
            log.warning("deadline.away", collection=collection, id=id_, error=type(error).__name__)
        except Exception:
            log.exception("deadline.failed", collection=collection, id=id_)
        metrics.SWEPT.labels(collection).inc()
        again = self.ctx.clock.now() + SWEEP_AGAIN
        stood = await repository.note(id_, deadline_at=again, where={"deadline_at": seen})
        return stood is None

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
        if duty["attempts"] >= MAX_ATTEMPTS:
            await self._bury(collection, repository, document["_id"], duty, token, "its runners died")
        else:
            await self._run_leased(collection, repository, document["_id"], duty, token)
        return True

    async def _run_leased(self, collection: str, repository: Moving, id_: str, duty: Duty, token: str) -> None:
        kind, key = duty["kind"], duty["key"]
        try:
            with metrics.DUTY_SECONDS.labels(kind).time():
                await asyncio.wait_for(self._perform(kind, repository, id_), DUTY_TIMEOUT_SECONDS)
        except Later as later:
            again = self.ctx.clock.now() + timedelta(seconds=max(later.seconds, LATER_AT_LEAST))
            await repository.postpone(id_, key, token, again, "", counted=False)
            metrics.DUTIES.labels(kind, "later").inc()
        except Rejected as error:
            await self._bury(collection, repository, id_, duty, token, f"rejected {error.code}")
        except Exception as error:
            await self._failed(collection, repository, id_, duty, token, error)
        else:
            await repository.finish(id_, key, token)
            metrics.DUTIES.labels(kind, "done").inc()

    async def _perform(self, kind: str, repository: Moving, id_: str) -> None:
        # A kind nobody here knows fails like any other: while versions change, another process may know it.
        run = self._duties.get(kind)
        if run is None:
            raise UnknownDuty(kind)
        document = await repository.get(id_)
        if document is not None:
            await run(self.ctx, document)

    async def _failed(
        self, collection: str, repository: Moving, id_: str, duty: Duty, token: str, error: Exception
    ) -> None:
        away = isinstance(error, (*AWAY, TimeoutError))
        report = log.warning if away else log.error
        report("duty.failed", kind=duty["kind"], id=id_, error=type(error).__name__, exc_info=None if away else error)
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


async def _beside_each_other(works: list[Work]) -> int:
    """Run all, at most `BESIDE` at a time, and tell how many did something; the failure of one is its own."""
    room = asyncio.Semaphore(BESIDE)

    async def in_turn(work: Work) -> bool:
        async with room:
            return await work()

    results = await asyncio.gather(*map(in_turn, works), return_exceptions=True)
    for failure in results:
        # Exceptions here are of the stores, or of something that cancelled itself: the lease ends and it is due again.
        if isinstance(failure, AWAY):
            log.warning("worker.store_away", error=type(failure).__name__)
        elif isinstance(failure, BaseException):
            log.error("worker.failed", exc_info=failure)
    return sum(result is True for result in results)
