"""One hospital with demo data for all journeys."""

from collections.abc import Iterator

import pytest

from scripts.demo.load import load
from tests.hospital import TestHospital, open_test_hospital


@pytest.fixture(scope="session")
def hospital(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[TestHospital]:
    opened = open_test_hospital(mongo_uri, redis_url, "journeys", tmp_path_factory.mktemp("hospital"))
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)
