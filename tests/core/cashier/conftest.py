"""The house in which the cashier counts."""

from collections.abc import Iterator

import pytest

from tests.counting import CountingHouse, open_counting_house


@pytest.fixture(scope="package")
def _counting(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[CountingHouse]:
    opened = open_counting_house(mongo_uri, redis_url, tmp_path_factory.mktemp("counting"), "cashier")
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def counting(_counting, io_loop) -> CountingHouse:
    """A day without any money yet."""
    io_loop.run_sync(_counting.begin)
    return _counting
