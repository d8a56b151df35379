"""The house in which the tests of visits, orders and ratings act."""

from collections.abc import Iterator

import pytest

from tests.core.consulting import House, open_house


@pytest.fixture(scope="session")
def _house(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[House]:
    opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("house"), "consulting")
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def house(_house, io_loop) -> Iterator[House]:
    """One house for all; who switches the gateway's faults or leaves duties behind leaves none to the next."""
    yield _house
    io_loop.run_sync(_house.tidy)
