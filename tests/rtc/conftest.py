"""The hospital in which the tests of calls act, and what the media of a call is recorded with."""

from collections.abc import Iterator

import pytest

from rtc.recording import Recording
from rtc.threads import Threads
from tests.core.consulting import House, open_house
from tests.rtc.calling import Calling, publish_consent


@pytest.fixture(scope="session")
def _calling(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[House]:
    opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("calling"), "calling")
    house = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: publish_consent(house.ctx))
    yield house
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def calling(_calling, io_loop, redis_url) -> Iterator[Calling]:
    """One hospital for all; no media process and no live call is left to the next."""
    made = Calling(_calling, redis_url)
    yield made
    io_loop.run_sync(made.tidy, timeout=30)


@pytest.fixture
def ctx(calling):
    """Its context."""
    return calling.ctx


@pytest.fixture(scope="session")
def _patient(_calling, io_loop):
    return io_loop.run_sync(_calling.patient, timeout=30)


@pytest.fixture
def case(calling, io_loop, _patient):
    """A visit in progress, of a patient who has been here before."""
    return io_loop.run_sync(lambda: calling.visit(patient=_patient), timeout=30)


@pytest.fixture
def media(calling, io_loop):
    """A media process."""
    return io_loop.run_sync(calling.process, timeout=30)


@pytest.fixture
def threads():
    """They end with the test."""
    made = Threads()
    yield made
    made.close()


@pytest.fixture
def recording(io_loop, tmp_path, threads):
    """Open; the test finishes it or leaves it."""
    return io_loop.run_sync(lambda: Recording.open(tmp_path / "call.1", "call", threads))
