"""The bounded writer, over a stream whose kernel the test plays."""

import asyncio
import json

import pytest

from im.frames import FRAME_BYTES
from im.outgoing import BYTES, FRAMES, Outgoing

pytestmark = pytest.mark.gen_test


class Stream:
    """Takes writes at once, or only when told."""

    def __init__(self):
        self.frames, self.is_full, self.pending = [], False, []

    def write(self, data):
        self.frames.append(data)
        written = asyncio.get_running_loop().create_future()
        self.pending.append(written) if self.is_full else written.set_result(None)
        return written

    def payloads(self):
        """What was written, frame by frame."""
        skip = {126: 4, 127: 10}
        return [json.loads(frame[skip.get(frame[1], 2) :]) for frame in self.frames]


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def overflows():
    return []


@pytest.fixture
def out(stream, overflows):
    return Outgoing(stream, lambda outgoing: None, lambda: overflows.append(1))


async def test_what_is_said_in_one_turn_is_one_frame_in_order(stream, out):
    for number in range(3):
        out.put(b"%d" % number)
    out.flush()
    out.put(b"3")
    out.flush()
    assert stream.payloads() == [[0, 1, 2], 3]


async def test_while_a_write_is_on_its_way_the_rest_waits_and_follows(stream, out):
    stream.is_full = True
    out.put(b"0")
    out.flush()
    out.put(b"1")
    out.put(b"2")
    out.flush()
    assert (stream.payloads(), out.waiting) == ([0], 2)
    stream.is_full = False
    stream.pending[0].set_result(None)
    await asyncio.sleep(0)
    assert (stream.payloads(), out.waiting) == ([0, [1, 2]], 0)


async def test_frames_stay_within_the_limit(stream, out):
    payload = b'"' + b"x" * 30_000 + b'"'
    for _ in range(5):
        out.put(payload)
    out.flush()
    assert [len(frame) for frame in stream.payloads()] == [2, 2, 30_000]
    assert all(len(frame) <= FRAME_BYTES + 10 for frame in stream.frames)


@pytest.mark.parametrize(("payload", "fitting"), [(b"1", FRAMES), (b'"' + b"x" * 65_534 + b'"', BYTES // 65_536)])
async def test_a_slow_reader_passes_the_bounds_once_and_nothing_of_it_is_kept(stream, out, overflows, payload, fitting):
    stream.is_full = True
    out.put(payload)
    out.flush()
    for _ in range(fitting):
        out.put(payload)
    assert overflows == []
    out.put(payload)
    out.put(payload)
    assert (overflows, out.closed, out._waiting, out._bytes) == ([1], True, [], 0)
    assert len(stream.frames) == 1


async def test_many_at_once_are_no_overflow_when_the_kernel_takes_them(stream, out, overflows):
    for number in range(2_000):
        out.put(b"%d" % number)
    out.flush()
    said = [one for frame in stream.payloads() for one in (frame if isinstance(frame, list) else [frame])]
    assert (said, overflows) == (list(range(2_000)), [])


async def test_a_closed_stream_ends_it_quietly(stream, out, overflows):
    stream.is_full = True
    out.put(b"0")
    out.flush()
    stream.pending[0].set_exception(OSError("gone"))
    await asyncio.sleep(0)
    out.put(b"1")
    assert (out.closed, overflows, stream.payloads()) == (True, [], [0])
