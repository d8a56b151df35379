"""Threads that end with the test, and a recording to write into."""

import pytest

from rtc.recording import Recording
from rtc.threads import Threads


@pytest.fixture
def threads():
    made = Threads()
    yield made
    made.close()


@pytest.fixture
def recording(io_loop, tmp_path, threads):
    """Open; the test finishes it or leaves it."""
    return io_loop.run_sync(lambda: Recording.open(tmp_path / "call.1", "call", threads))
