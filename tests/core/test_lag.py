import asyncio
import time

import pytest

from core import lag, tasks


@pytest.mark.parametrize(
    ("late", "seen"),
    [
        (0.0, [0.0]),
        (0.015, [0.015]),
        (0.05, [0.05, 0.03, 0.01]),
    ],
)
def test_each_tick_is_as_late_as_it_is_seen(late, seen):
    assert lag.seen_late(late) == pytest.approx(seen)


def test_a_process_that_was_stopped_for_an_hour_is_not_counted_for_an_hour():
    told = lag.seen_late(3_600.0)
    assert len(told) == lag.TICKS_AT_ONCE
    assert told[0] == 3_600.0


@pytest.mark.gen_test
async def test_a_stall_is_told_by_all_ticks_that_it_swallowed():
    told: list[float] = []
    noticed = asyncio.Event()

    def observe(late: float) -> None:
        told.append(late)
        if late >= 0.09:
            noticed.set()

    probing = tasks.spawn("test.lag", lag.probe(observe))
    await asyncio.sleep(0)
    until = time.monotonic() + 0.12
    while time.monotonic() < until:
        pass
    await asyncio.wait_for(noticed.wait(), 5)
    await tasks.stop(probing)
    at = next(place for place, late in enumerate(told) if late >= 0.09)
    ticks = told[at : at + 5]
    assert [ticks[0] - late for late in ticks] == pytest.approx([n * lag.TICK_SECONDS for n in range(5)])
