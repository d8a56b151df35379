from datetime import UTC, datetime

from core.ids import SystemClock, china_today, new_id
from tests.clock import SettableClock


def test_ids_are_ulids_in_the_order_of_their_making():
    made = [new_id() for _ in range(3)]
    assert all(len(one) == 26 for one in made)
    assert len(set(made)) == 3
    assert made[0][:8] <= made[2][:8]


def test_the_clock_tells_aware_utc_in_milliseconds():
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0


def test_the_day_in_china_begins_at_sixteen_hundred_utc():
    assert china_today(SettableClock(datetime(2026, 3, 1, 15, 59, tzinfo=UTC))).isoformat() == "2026-03-01"
    assert china_today(SettableClock(datetime(2026, 3, 1, 16, 0, tzinfo=UTC))).isoformat() == "2026-03-02"
