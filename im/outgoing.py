"""The one ordered writer of a socket: everything that leaves it waits here, within bounds."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tornado.iostream import IOStream, StreamClosedError

from im import metrics
from im.frames import FRAME_BYTES, batches, text_frame

# What a client that reads slowly may let wait; beyond, it is closed with 4008 and syncs.
FRAMES: Final = 256
BYTES: Final = 1024 * 1024


class Outgoing:
    """Gathers what one turn of the loop says into one frame. While a write is on its way the rest waits here.

    `schedule` is asked to call `flush` in the next turn; `overflow` is called once when the bounds are passed. There is
    no task: a write that the kernel takes at once, which is nearly all, costs nothing more.
    """

    __slots__ = ("_bytes", "_overflow", "_schedule", "_scheduled", "_stream", "_waiting", "_writing", "closed")

    def __init__(self, stream: IOStream, schedule: Callable[["Outgoing"], None], overflow: Callable[[], None]) -> None:
        self._stream = stream
        self._schedule = schedule
        self._overflow = overflow
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._scheduled = False
        self._writing = False
        self.closed = False

    def put(self, payload: bytes) -> None:
        """Say this after everything that was put before."""
        if self.closed:
            return
        self._waiting.append(payload)
        self._bytes += len(payload)
        if self.is_over(0, 0):
            # Full within one turn of the loop need not mean slow: only what the kernel does not take counts.
            self.flush()
            if self.is_over(0, 0):
                self.close()
                self._overflow()
        elif not self._scheduled and not self._writing:
            self._scheduled = True
            self._schedule(self)

    @property
    def waiting(self) -> int:
        """Frames that the kernel has not taken."""
        return len(self._waiting)

    def is_over(self, more_frames: int, more_bytes: int) -> bool:
        """Whether what waits here, and so much more, passes the bounds."""
        return len(self._waiting) + more_frames > FRAMES or self._bytes + more_bytes > BYTES

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._scheduled = False
        while self._waiting and not self._writing and not self.closed:
            self._write(self._next_frame())

    def _next_frame(self) -> bytes:
        waiting = self._waiting
        if len(waiting) == 1:
            self._waiting, self._bytes = [], 0
            return waiting[0]
        size, count = 1, 0
        for payload in waiting:
            if count and size + len(payload) + 1 > FRAME_BYTES:
                break
            size += len(payload) + 1
            count += 1
        taken, self._waiting = waiting[:count], waiting[count:]
        self._bytes -= sum(map(len, taken))
        return batches(taken)[0]

    def _write(self, frame: bytes) -> None:
        metrics.FRAMES_OUT.inc()
        try:
            written = self._stream.write(text_frame(frame))
        except StreamClosedError:
            self.close()
            return
        if not written.done():
            self._writing = True
            written.add_done_callback(self._written)

    def _written(self, written: "asyncio.Future[Any]") -> None:
        self._writing = False
        if written.cancelled() or written.exception() is not None:
            self.close()
        else:
            self.flush()

    def close(self) -> None:
        """Say nothing more; what waits is dropped."""
        self.closed = True
        self._waiting = []
        self._bytes = 0
