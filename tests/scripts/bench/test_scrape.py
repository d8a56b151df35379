import asyncio
import math

import pytest

from scripts.bench.scrape import NotCounted, buckets_of, exposition, quantile

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
    counted = buckets_of(await exposition("127.0.0.1", hospital.process.port), "event_loop_lag_seconds")
    assert {0.02, math.inf} <= counted.keys()
    assert counted[math.inf] > 0


@pytest.mark.gen_test
async def test_a_server_that_is_not_there_is_a_lost_connection():
    with pytest.raises(ConnectionError):
        await exposition("127.0.0.1", 1)


@pytest.mark.gen_test
async def test_a_server_that_tells_no_metrics_is_told_by_its_status():
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 404 Not Found\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        with pytest.raises(NotCounted, match="404"):
            await exposition("127.0.0.1", server.sockets[0].getsockname()[1])
