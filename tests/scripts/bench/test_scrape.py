import math

import pytest

from scripts.bench.scrape import NotCounted, buckets_of, histogram, quantile

TEXT = """# HELP lag_seconds How late
# TYPE lag_seconds histogram
lag_seconds_bucket{le="0.01"} 90.0
lag_seconds_bucket{le="0.02"} 98.0
lag_seconds_bucket{le="0.05"} 100.0
lag_seconds_bucket{le="+Inf"} 100.0
lag_seconds_count 100.0
lag_seconds_sum 0.7
"""
BUCKETS = {0.01: 90.0, 0.02: 98.0, 0.05: 100.0, math.inf: 100.0}


def test_a_histogram_is_read_by_its_bounds():
    assert buckets_of(TEXT, "lag_seconds") == BUCKETS


def test_what_is_not_counted_is_told():
    with pytest.raises(NotCounted, match="does not count wait_seconds"):
        buckets_of(TEXT, "wait_seconds")


@pytest.mark.parametrize(("share", "value"), [(0.45, 0.005), (0.9, 0.01), (0.94, 0.015), (0.99, 0.035), (1.0, 0.05)])
def test_a_quantile_lies_on_the_line_between_two_bounds(share, value):
    assert quantile({}, BUCKETS, share) == pytest.approx(value)


def test_only_what_came_between_two_looks_counts():
    later = {0.01: 90.0, 0.02: 108.0, 0.05: 110.0, math.inf: 110.0}
    assert quantile(BUCKETS, later, 0.5) == pytest.approx(0.015)


def test_beyond_the_last_bound_is_the_last_bound():
    assert quantile({}, {0.01: 0.0, math.inf: 5.0}, 0.99) == 0.01


def test_nothing_between_two_looks_is_no_quantile():
    with pytest.raises(NotCounted, match="nothing was observed"):
        quantile(BUCKETS, BUCKETS, 0.99)


@pytest.mark.gen_test
async def test_a_running_hospital_counts_how_late_its_loop_is(hospital):
    counted = await histogram("127.0.0.1", hospital.process.port, "event_loop_lag_seconds")
    assert {0.02, math.inf} <= counted.keys()
    assert counted[math.inf] > 0


@pytest.mark.gen_test
async def test_a_server_that_is_not_there_is_a_lost_connection():
    with pytest.raises(ConnectionError, match="no metrics"):
        await histogram("127.0.0.1", 1, "event_loop_lag_seconds")
