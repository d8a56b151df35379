"""The one place that starts background tasks: each is named, kept alive and its failure logged."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from storage.ending import end

log = structlog.get_logger()

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Run beside the caller; an exception is logged under the task's name, cancellation is silent."""
    task = asyncio.create_task(work, name=name)  # noqa: TID251 -- the one caller the ban points everybody to
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task.failed", task=task.get_name(), exc_info=error)


async def stop(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel and wait until they have ended."""
    await end(task for task in tasks if task is not None)


def running() -> list[str]:
    """Names of the tasks alive, for tests and metrics."""
    return sorted(task.get_name() for task in _running)
