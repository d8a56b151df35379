from datetime import UTC, datetime, timedelta

from ulid import ULID

from core.ids import SystemClock, china_today, id_at, new_id
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


def test_an_id_of_a_moment_sorts_by_it_and_is_the_same_for_the_same_key():
    moment = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
    later = moment + timedelta(milliseconds=1)
    assert id_at(moment, "k") == id_at(moment, "k") != id_at(moment, "l")
    assert id_at(moment) != id_at(moment)
    assert max(id_at(moment, "k"), id_at(moment)) < min(id_at(later, "k"), id_at(later))
    assert id_at(moment)[:10] == str(ULID.from_datetime(moment))[:10]
