"""Ending background tasks, whatever they are doing.

One cancellation is not always enough: a connection that breaks while it is being closed raises its own error in the
cancellation's place, and `asyncio.wait_for` of Python 3.11 forgets one that comes together with its result.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

ASKED_AGAIN_SECONDS: Final = 0.5


async def end(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    """Cancel the tasks, again and again, until all of them have ended; how they ended is not told."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=ASKED_AGAIN_SECONDS)
