"""Numbered steps that bring a database to what the code expects, each run once, by one process at a time.

A step is a module `mNNNN_what.py` with `async def up(store, context)`. It must be repeatable: after a crash it runs
again
from its beginning. A step that also has `fingerprint() -> str` runs again whenever that changes. The collection
`migrations` holds one document a step and the lock, which is a lease: a process that dies holding it is waited for,
no longer.
"""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import Protocol

import structlog

from storage.mongo import DuplicateKey, Store

log = structlog.get_logger()

_LEASE_SECONDS = 30.0  # renewed at a third of it, so two renewals may fail before another process takes over
_LOOK_AGAIN_SECONDS = 0.2
_WAIT_SECONDS = 600.0


class LockLost(Exception):
    """Another process took the lock over while a step ran; the step was stopped and is not recorded."""


class MigrationsBusy(Exception):
    """Another process has been migrating for longer than this one would wait."""


@dataclass(frozen=True)
class MigrationContext:
    """What a step may use besides the store."""

    now: Callable[[], datetime]
    holder: str


class Step(Protocol):
    """One migration, named by its module."""

    async def up(self, store: Store, context: MigrationContext) -> None:
        """Does it; doing it twice is doing it once."""


def steps() -> list[tuple[str, ModuleType]]:
    """All steps, in the order of their numbers."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("m"))
    return [(name.removeprefix("m"), importlib.import_module(f"{__name__}.{name}")) for name in names]


async def migrate(
    store: Store,
    *,
    now: Callable[[], datetime],
    holder: str,
    plan: Sequence[tuple[str, ModuleType | Step]] | None = None,
    wait_s: float = _WAIT_SECONDS,
    lease_s: float = _LEASE_SECONDS,
) -> list[str]:
    """Runs what has not run yet, in order; the names of what this process ran.

    `holder` is this process's own name. Waits up to `wait_s` for another that migrates (MigrationsBusy after that), and
    then finds its work done. A failing step raises, is not recorded, and stops those after it.
    """
    todo = steps() if plan is None else plan
    if not await _missing(store, todo):
        return []
    applied: list[str] = []
    async with _locked(store, now=now, holder=holder, wait_s=wait_s, lease_s=lease_s):
        for name, step in await _missing(store, todo):
            began = now()
            await step.up(store, MigrationContext(now=now, holder=holder))
            took_ms = round((now() - began).total_seconds() * 1000)
            record = {"at": now(), "by": holder, "took_ms": took_ms, "fingerprint": _fingerprint(step)}
            await store.db["migrations"].update_one({"_id": name}, {"$set": record}, upsert=True)
            log.info("migration.applied", migration=name, took_ms=took_ms)
            applied.append(name)
    return applied


def _fingerprint(step: object) -> str | None:
    tell: Callable[[], str] | None = getattr(step, "fingerprint", None)
    return tell() if tell else None


async def _missing(store: Store, todo: Sequence[tuple[str, ModuleType | Step]]) -> list[tuple[str, ModuleType | Step]]:
    done = {record["_id"]: record.get("fingerprint") for record in await store.db["migrations"].find().to_list(None)}
    return [(name, step) for name, step in todo if name not in done or done[name] != _fingerprint(step)]


@asynccontextmanager
async def _locked(
    store: Store, *, now: Callable[[], datetime], holder: str, wait_s: float, lease_s: float
) -> AsyncIterator[None]:
    """Holds the lock for the block; cancels the block and raises LockLost when it was lost meanwhile."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await _take(store, holder, now(), lease_s):
        if asyncio.get_running_loop().time() > deadline:
            raise MigrationsBusy(f"another process has been migrating for {wait_s:.0f} s")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(_renew(store, holder, now, lease_s), name="migrations-lease")
            yield
            renewing.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    finally:
        await store.db["migrations"].delete_one({"_id": "lock", "holder": holder})


async def _take(store: Store, holder: str, now: datetime, lease_s: float) -> bool:
    held = {"holder": holder, "until": now + timedelta(seconds=lease_s)}
    locks = store.db["migrations"]
    taken = await locks.update_one({"_id": "lock", "until": {"$lte": now}}, {"$set": held})
    if taken.matched_count:
        return True
    try:
        await locks.insert_one({"_id": "lock", **held})
    except DuplicateKey:
        return False
    return True


async def _renew(store: Store, holder: str, now: Callable[[], datetime], lease_s: float) -> None:
    while True:
        await asyncio.sleep(lease_s / 3)
        until = now() + timedelta(seconds=lease_s)
        kept = await store.db["migrations"].update_one({"_id": "lock", "holder": holder}, {"$set": {"until": until}})
        if not kept.matched_count:
            raise LockLost("another process took the migrations over")
