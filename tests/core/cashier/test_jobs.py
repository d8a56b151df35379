import asyncio
from datetime import date, time, timedelta

import pytest
from structlog.testing import capture_logs

from core import metrics
from core.cashier import service
from core.cashier.jobs import PERIODIC, reconcile_days
from tests.core.partial import caller_of


async def days(counting) -> list[str]:
    return [one["_id"] for one in await service.days(counting.ctx, limit=50, cursor=None)]


def before(counting, back: int) -> str:
    return (date.fromisoformat(counting.day) - timedelta(days=back)).isoformat()


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_yesterday_is_compared_once_by_whoever_comes_first(counting):
    await counting.house.waiting()
    counting.next_morning()
    await asyncio.gather(*(reconcile_days(counting.ctx) for _ in range(3)))
    await reconcile_days(counting.ctx)
    assert await days(counting) == [counting.day]
    kept = await service.require_day(counting.ctx, counting.day)
    assert (kept["version"], kept["by"], kept["ours"]["payments"]) == (1, "system", 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_bill_is_left_alone_before_ten(counting):
    counting.next_morning(time(10, 5))
    await reconcile_days(counting.ctx)
    assert await days(counting) == [before(counting, 1)]


@pytest.mark.gen_test(timeout=60)
async def test_what_failed_is_tried_again_and_does_not_hold_up_the_other_days(counting):
    counting.next_morning()
    await service.reconcile_by_hand(counting.ctx, caller=caller_of("admin"), day=before(counting, 3))
    await counting.house.faults(unavailable_calls=1)
    with capture_logs() as logs:
        await reconcile_days(counting.ctx)
    assert [(line["event"], line["day"]) for line in logs if line["log_level"] == "warning"] == [
        ("reconciliation.later", before(counting, 2))
    ]
    assert await days(counting) == [counting.day, before(counting, 1), before(counting, 3)]
    assert metrics.UNRECONCILED._value.get() == 1
    await reconcile_days(counting.ctx)
    assert metrics.UNRECONCILED._value.get() == 0
    assert await days(counting) == [counting.day, *(before(counting, back) for back in (1, 2, 3))]


def test_it_is_looked_at_every_ten_minutes():
    assert [(600, reconcile_days)] == PERIODIC
