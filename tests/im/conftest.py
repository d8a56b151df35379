"""A chat in the test's own process; fresh collections for every test."""

import pytest

from storage.indexes import ensure_indexes
from tests.clock import SettableClock
from tests.im import house

COLLECTIONS = ("visits", "messages", "conversations", "media")


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def start(io_loop, indexed, redis_url, clock):
    """Starts processes; all of them end with the test."""
    running = []

    async def begin(**how):
        opening = house.process(indexed, redis_url, clock, **how)
        running.append(opening)
        return await opening.__aenter__()

    async def empty():
        for name in COLLECTIONS:
            await indexed.db[name].delete_many({})

    async def end():
        for opening in reversed(running):
            await opening.__aexit__(None, None, None)

    io_loop.run_sync(empty)
    yield begin
    io_loop.run_sync(end, timeout=30)


@pytest.fixture
def server(io_loop, start):
    return io_loop.run_sync(start)


@pytest.fixture
def visit(io_loop, indexed, server):
    """A consultation that may be spoken in."""
    return io_loop.run_sync(lambda: house.add_visit(indexed))
