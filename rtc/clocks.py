"""When something was said or seen: RTP timestamps of sound and picture on one time line (RFC 3550, 6.4.1).

A leg's two streams count different clocks from random beginnings. A sender report pairs a stream's timestamp with the
sender's wall clock, and both streams of a sender share that clock; until it comes, the time of arrival must do.
"""

from typing import Final

from rtc.packets import ticks_ahead

# More than this is no jitter: the sender's clock was set, or it began to count anew.
JUMP_SECONDS: Final = 0.5
# A packet so far from its arrival carries a timestamp that means nothing; files of many hours came of such.
ASTRAY_SECONDS: Final = 2.0
_NTP_FRACTION: Final = 1 << 32


class StreamClock:
    """One stream's timestamps, unwrapped, as a straight line through the last known point."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._ticks = 0
        self._point: tuple[int, float] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a frame has come."""
        return self._point is not None

    def ticks(self, timestamp: int) -> int:
        """Ticks without the jump back after 2**32, counted from the last frame."""
        return self._ticks + ticks_ahead(timestamp, self._ticks & 0xFFFFFFFF)

    def advance(self, timestamp: int) -> int:
        """The same, and the frame becomes the last one."""
        self._ticks = self.ticks(timestamp) if self.has_begun else timestamp
        return self._ticks

    def pin(self, ticks: int, seconds: float) -> None:
        """From now on the line goes through this point."""
        self._point = (ticks, seconds)

    def seconds(self, ticks: int) -> float:
        """Where the line is at `ticks`."""
        assert self._point is not None
        at, seconds = self._point
        return seconds + (ticks - at) / self.rate


class LegClock:
    """Seconds on the recording's time line for every frame of one leg."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamClock] = {}
        # Our time line minus the sender's wall clock, once a report has told it.
        self._behind: float | None = None

    def at(self, kind: str, rate: int, timestamp: int, arrival: float) -> float:
        """When the frame was taken; `arrival` is when it came, on the same line."""
        stream = self._streams.get(kind)
        if stream is None or stream.rate != rate:
            stream = self._streams[kind] = StreamClock(rate)
        ticks = stream.advance(timestamp)
        if not stream.has_begun:
            stream.pin(ticks, arrival)
        seconds = stream.seconds(ticks)
        if abs(seconds - arrival) > ASTRAY_SECONDS:
            stream.pin(ticks, arrival)
            return arrival
        return seconds

    def restart(self, kind: str) -> None:
        """Another source sends this kind now: its timestamps have nothing to do with the old ones."""
        self._streams.pop(kind, None)

    def report(self, kind: str, ntp: int, timestamp: int) -> None:
        """A sender report of the stream; nothing happens before its first frame."""
        stream = self._streams.get(kind)
        if stream is None or not stream.has_begun:
            return
        at = stream.ticks(timestamp)
        wall, here = ntp / _NTP_FRACTION, stream.seconds(at)
        if self._behind is None or abs(wall + self._behind - here) > JUMP_SECONDS:
            self._behind = here - wall
        stream.pin(at, wall + self._behind)
