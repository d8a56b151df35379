"""Records one leg: frames wait here for half a second and are then written, in segments, by the writer's thread.

A failure ends a segment, never the call: the next segment is tried again and again.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import structlog

from core import tasks
from rtc.clocks import LegClock
from rtc.digests import digest
from rtc.manifests import Unfinished
from rtc.media import Moment, Segment, Side
from rtc.recording import Recording
from rtc.segments import SUFFIXES, Sample, SegmentFile

log = structlog.get_logger()

# A stream that has not begun by then gets a segment of its own: a header must name all that a file holds.
HOLD_SECONDS: Final = 1.0
# Half a minute of both streams; a disk that is slower for longer is broken.
QUEUE_BYTES: Final = 4 * 1024 * 1024
# Doubled with every failure up to the longest, so that a full disk does not raise an alarm a second.
RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 16.0


class _Writing:
    """A segment under way; `file` belongs to the writer's thread."""

    def __init__(self, path: Path, codecs: dict[str, str], offset: float) -> None:
        self.path, self.codecs, self.offset = path, codecs, offset
        self.file: SegmentFile | None = None
        self.is_broken = False

    def write(self, samples: list[Sample]) -> None:
        """The first call opens the file."""
        if self.is_broken:
            return
        if self.file is None:
            self.file = SegmentFile(self.path, samples)
        self.file.write(samples)

    def close(self) -> float:
        """The length in seconds."""
        if self.file is None:
            return 0.0
        self.file.close()
        return self.file.duration


class Recorder:
    """One leg's. `kinds` are those that the leg may send; frames come from the loop, in whatever order."""

    def __init__(
        self,
        recording: Recording,
        side: Side,
        generation: int,
        kinds: Collection[str],
        *,
        armed: Callable[[], None],
        failed: Callable[[str], None],
        want_key_frame: Callable[[], None],
    ) -> None:
        self._recording, self._side, self._generation = recording, side, generation
        self._kinds = frozenset(kinds)
        self._tell_armed, self._tell_failed, self._want_key_frame = armed, failed, want_key_frame
        self._clock = LegClock()
        self._number = 0
        self._armed: Path | None = None
        self._writing: _Writing | None = None
        self._samples: list[Sample] = []
        self._samples_since = 0.0
        self._bytes = 0
        self._is_full = self._is_closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = RETRY_SECONDS
        self._work: set[asyncio.Task[None]] = set()
        self._arm()

    @property
    def is_armed(self) -> bool:
        """Whether a file is there to take what comes."""
        return self._armed is not None or self._writing is not None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.spawn("rtc.recorder", work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _arm(self) -> None:
        self._retry = None
        self._number += 1
        self._spawn(self._make(self._recording.folder / f"{self._side}-{self._generation}-{self._number}"))

    async def _make(self, path: Path) -> None:
        try:
            await self._recording.threads.write(partial(_create, path))
        except OSError as error:
            self._fail(error)
            return
        self._armed = path
        self._tell_armed()

    def put(self, kind: str, codec: str, rate: int, timestamp: int, data: bytes, is_key: bool, at: float) -> None:
        """A frame that came at `at` of `time.monotonic`."""
        arrival = self._recording.offset(at)
        seconds = self._clock.at(kind, rate, timestamp, arrival)
        if self._is_closed or self._is_full or not self._is_wanted(kind, codec, is_key):
            return
        if self._bytes + len(data) > QUEUE_BYTES:
            self._is_full = True
            self._fail(BufferError("queue_full"))
            return
        if not self._samples:
            self._samples_since = at
        self._samples.append(Sample(kind, codec, seconds, data, is_key))
        self._bytes += len(data)

    def _is_wanted(self, kind: str, codec: str, is_key: bool) -> bool:
        """Whether the frame can be written; one that the open segment has no place for begins the next."""
        if self._writing is not None:
            if self._writing.codecs.get(kind) == codec:
                return True
            if is_key:
                self._end_segment()
                self._arm()
            return is_key
        if is_key or any(sample.kind == kind and sample.is_key for sample in self._samples):
            return True
        self._want_key_frame()
        return False

    def restart(self, kind: str) -> None:
        """Another source sends this kind from now on."""
        self._clock.restart(kind)

    def sender_report(self, kind: str, ntp: int, timestamp: int) -> None:
        """From the leg's RTCP."""
        self._clock.report(kind, ntp, timestamp)

    def flush(self, now: float) -> None:
        """Give what waits to the writer; to be called twice a second."""
        if not self._samples:
            return
        if self._writing is None:
            seen = {sample.kind for sample in self._samples}
            if self._armed is None or (not self._kinds <= seen and now - self._samples_since < HOLD_SECONDS):
                return
            self._begin_segment(self._armed)
        self._hand_over()

    def _begin_segment(self, armed: Path) -> None:
        codecs: dict[str, str] = {}
        for sample in self._samples:
            codecs.setdefault(sample.kind, sample.codec)
        offset = max(0.0, min(sample.seconds for sample in self._samples))
        path = armed.with_name(armed.name + SUFFIXES[codecs.get("video", "")])
        self._recording.threads.write(partial(armed.rename, path)).add_done_callback(_looked_at)
        self._armed, self._writing = None, _Writing(path, codecs, offset)
        self._recording.begin_segment(
            Unfinished(self._side, self._generation, path.name, self._recording.instant(offset), offset)
        )

    def _hand_over(self) -> None:
        assert self._writing is not None
        samples, self._samples = self._samples, []
        if samples:
            self._spawn(self._write(self._writing, samples))

    async def _write(self, writing: _Writing, samples: list[Sample]) -> None:
        try:
            await self._recording.threads.write(partial(writing.write, samples))
            if not writing.is_broken:
                self._retry_seconds = RETRY_SECONDS
        except (OSError, av.FFmpegError, ValueError) as error:
            if writing is self._writing:
                self._fail(error)
        finally:
            self._bytes -= sum(len(sample.data) for sample in samples)

    def _fail(self, error: Exception) -> None:
        """End the segment, raise the alarm, try the next one a little later."""
        reason = str(error) if isinstance(error, BufferError) else _reason(error)
        log.error("rtc.recorder_failed", call=self._recording.call, side=self._side, reason=reason)
        self._drop_samples()
        if self._writing is not None:
            self._writing.is_broken = True
            self._end_segment()
        self._armed = None
        offset = self._recording.offset(time.monotonic())
        self._recording.note(Moment(offset, self._side, "recorder_failed", self._generation))
        if not self._is_closed and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._retry_seconds, self._try_again)
            self._retry_seconds = min(LONGEST_RETRY_SECONDS, 2 * self._retry_seconds)
        self._tell_failed(reason)

    def _try_again(self) -> None:
        self._is_full = False
        self._arm()
        self._want_key_frame()

    def _drop_samples(self) -> None:
        self._bytes -= sum(len(sample.data) for sample in self._samples)
        self._samples.clear()

    def _end_segment(self) -> None:
        if self._writing is None:
            return
        self._hand_over()
        writing, self._writing = self._writing, None
        self._spawn(self._finish(writing))

    async def _finish(self, writing: _Writing) -> None:
        threads, segment = self._recording.threads, None
        try:
            try:
                duration = await threads.write(writing.close)
            except (OSError, av.FFmpegError) as error:  # what is in the file stays there
                log.warning("rtc.segment_cut_short", call=self._recording.call, reason=_reason(error))
                duration = writing.file.duration if writing.file is not None else 0.0
            found = await threads.handle(partial(digest, writing.path))
            if found.size:
                segment = Segment(
                    self._side, self._generation, writing.path.name, found.size,
                    self._recording.instant(writing.offset), writing.offset, duration, found.sha256, found.sm3,
                )  # fmt: skip
        except OSError as error:
            log.error("rtc.segment_lost", call=self._recording.call, reason=_reason(error))
        self._recording.end_segment(writing.path.name, segment)

    async def close(self) -> None:
        """Write everything that waits; the segments are complete afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._samples and self._writing is None:
            while self._armed is None and self._work:  # the next file is just being made
                await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
            if self._armed is not None:
                self._begin_segment(self._armed)
        self._end_segment()
        while self._work:
            await asyncio.wait(self._work)
        if self._armed is not None:
            armed, self._armed = self._armed, None
            await self._recording.threads.write(partial(armed.unlink, missing_ok=True))


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _looked_at(future: "asyncio.Future[Path]") -> None:
    """A rename that failed shows when the segment is written."""
    if not future.cancelled():
        future.exception()


def _reason(error: Exception) -> str:
    """A stable word: the system's name of the error, or the exception's."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower().replace(" ", "_") if isinstance(number, int) else type(error).__name__
