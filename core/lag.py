"""How late the event loop wakes up: what everybody waits who comes while it is busy, or while the machine is."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

# Fifty wake-ups a second cost a thousandth of a core and make a 99th percentile of four seconds worth reading.
TICK_SECONDS: Final = 0.02
# Of the ticks that a stopped process slept through, so many are counted when it goes on.
TICKS_AT_ONCE: Final = 500


async def probe(observe: Callable[[float], None]) -> None:
    """Tell `observe` for each tick of a steady clock how many seconds late the loop saw it; until cancelled.

    Ticks slept through are told too, each with its own lateness: a stall delays all that comes while it lasts.
    """
    due = time.monotonic()
    while True:
        due += TICK_SECONDS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        late = max(0.0, time.monotonic() - due)
        for one in seen_late(late):
            observe(one)
        due += TICK_SECONDS * math.floor(late / TICK_SECONDS)


def seen_late(late: float) -> list[float]:
    """How late each tick that has come by now is seen, when the first of them is seen `late`; in seconds."""
    count = min(TICKS_AT_ONCE, 1 + math.floor(late / TICK_SECONDS))
    return [late - number * TICK_SECONDS for number in range(count)]
