"""Fixtures for every test: one event loop and one pair of embedded stores a run, a fresh database a module.

Tests are `async def` with `@pytest.mark.gen_test`. A fixture that must await uses `io_loop.run_sync(...)`.
"""

import asyncio
from collections.abc import Iterator

import pytest
import tornado.ioloop

from scripts.demo.load import load
from scripts.embedded import EmbeddedStores
from storage.mongo import Driver, Store
from storage.redis import Redis, connect
from tests.hospital import TestHospital, open_test_hospital

_STARTING_SECONDS = 60


# The loop of the run, once there is one.
_loops: list[asyncio.AbstractEventLoop] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test that calls `asyncio.run` leaves the thread without a current loop: give the next one ours back."""
    for loop in _loops:
        asyncio.set_event_loop(loop)


@pytest.fixture(scope="session")
def io_loop() -> Iterator[tornado.ioloop.IOLoop]:
    """The loop of the whole run, instead of pytest-tornado's one a test: clients and servers live across tests."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    _loops.append(loop)
    yield tornado.ioloop.IOLoop.current()
    _loops.clear()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="session")
def embedded(io_loop, tmp_path_factory) -> Iterator[EmbeddedStores]:
    """The embedded stores. Who kills one starts it again before the test ends."""
    stores = EmbeddedStores.under(tmp_path_factory.mktemp("stores"))
    io_loop.run_sync(stores.start, timeout=_STARTING_SECONDS)
    yield stores
    io_loop.run_sync(stores.stop, timeout=_STARTING_SECONDS)


@pytest.fixture(scope="session")
def mongo_uri(embedded) -> str:
    return embedded.mongo.uri


@pytest.fixture(scope="session")
def redis_url(embedded) -> str:
    return embedded.redis.url


@pytest.fixture(scope="module")
def driver() -> Driver:
    """The driver that `store` uses; the storage suite overrides it with both."""
    return "motor"


@pytest.fixture(scope="module")
def database(request, driver) -> str:
    """The module's own database name."""
    return f"t_{request.module.__name__.replace('.', '_')[-40:]}_{driver}"


@pytest.fixture(scope="module")
def store(io_loop, mongo_uri, database, driver) -> Iterator[Store]:
    """An empty database of the module's own, without indexes; `ensure_indexes(store)` adds them."""
    _drop(io_loop, mongo_uri, database, driver)
    opened = io_loop.run_sync(lambda: Store.open(mongo_uri, database, driver=driver))
    yield opened
    io_loop.run_sync(opened.close)
    _drop(io_loop, mongo_uri, database, driver)


def _drop(io_loop, mongo_uri: str, database: str, driver: Driver) -> None:
    """Dropping a large database takes longer than the store waits for anything in service."""
    patient = f"{mongo_uri}&socketTimeoutMS=60000"
    dropping = io_loop.run_sync(lambda: Store.open(patient, database, driver=driver))
    io_loop.run_sync(dropping.drop, timeout=60)
    io_loop.run_sync(dropping.close)


@pytest.fixture(scope="module")
def redis(io_loop, redis_url) -> Iterator[Redis]:
    """A client of a Redis emptied for the module."""
    client = connect(redis_url)
    io_loop.run_sync(client.flushall)
    yield client
    io_loop.run_sync(client.aclose)


@pytest.fixture(scope="session")
def hospital(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[TestHospital]:
    """One whole hospital with demo data for all tests that act as people; they leave others' things alone."""
    opened = open_test_hospital(mongo_uri, redis_url, "hospital", tmp_path_factory.mktemp("hospital"))
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def ctx(hospital):
    """The context of the whole hospital; features that need less have their own."""
    return hospital.ctx
