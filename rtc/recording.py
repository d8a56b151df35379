"""One room's recording: its folder, its time line, its manifest. The legs' recorders write into it."""

import asyncio
import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import structlog

from core import tasks
from rtc import manifests
from rtc.manifests import Draft, Unfinished
from rtc.media import Manifest, Moment, Segment
from rtc.threads import Threads

log = structlog.get_logger()

LOCK: Final = ".lock"


class Recording:
    """Open until `finish`. Seconds count from the first packet of the room."""

    def __init__(self, folder: Path, call: str, threads: Threads, lock: int) -> None:
        self.folder, self.call, self.threads = folder, call, threads
        self._lock = lock
        self._opened_at = datetime.now(UTC)
        self._began: tuple[float, datetime] | None = None
        self._segments: list[Segment] = []
        self._unfinished: dict[str, Unfinished] = {}
        self._timeline: list[Moment] = []
        self._is_changed = False
        self._saving: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path, call: str, threads: Threads) -> Self:
        """Make the folder and lock it, so that nobody takes it for one left behind. Raises OSError."""
        lock = await threads.handle(lambda: lock_folder(folder, new=True))
        recording = cls(folder, call, threads, lock)
        try:
            await recording._write()
        except OSError:
            os.close(lock)
            raise
        return recording

    def offset(self, at: float) -> float:
        """Seconds of the recording at a moment of `time.monotonic`; the first asked for begins it."""
        if self._began is None:
            self._began = (at, datetime.now(UTC))
        return at - self._began[0]

    def instant(self, offset: float) -> datetime:
        """The wall clock's time then."""
        began = self._began[1] if self._began is not None else self._opened_at
        return began + timedelta(seconds=offset)

    def note(self, moment: Moment) -> None:
        """Put it on the time line."""
        self._timeline.append(moment)
        self._save_soon()

    def begin_segment(self, segment: Unfinished) -> None:
        """A file is being written from now on."""
        self._unfinished[segment.name] = segment
        self._save_soon()

    def end_segment(self, name: str, segment: Segment | None) -> None:
        """The file is complete, or (None) nothing came of it."""
        self._unfinished.pop(name, None)
        if segment is not None:
            self._segments.append(segment)
        self._save_soon()

    @property
    def draft(self) -> Draft:
        """The manifest as it stands."""
        segments = tuple(sorted(self._segments, key=lambda one: (one.offset, one.side, one.name)))
        timeline = tuple(sorted(self._timeline, key=lambda one: one.offset))
        return Draft(Manifest(self.call, self.instant(0.0), segments, timeline), tuple(self._unfinished.values()))

    def _save_soon(self) -> None:
        self._is_changed = True
        if self._saving is None:
            self._saving = tasks.spawn("rtc.manifest", self._save())

    async def _save(self) -> None:
        try:
            while self._is_changed:
                self._is_changed = False
                await self._write()
        except OSError as error:
            # The next change tries again, and `finish` does; the segments themselves raise their own alarm.
            self._is_changed = True
            log.warning("rtc.manifest_not_saved", call=self.call, error=type(error).__name__)
        finally:
            self._saving = None

    async def _write(self) -> None:
        draft = self.draft
        await self.threads.handle(lambda: manifests.save(self.folder, draft))

    async def finish(self) -> Manifest:
        """Save for the last time and let the folder go; it can be handed over now."""
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if self._is_changed:
            await self._save()
        os.close(self._lock)
        return self.draft.manifest


def lock_folder(folder: Path, *, new: bool = False) -> int:
    """A descriptor that holds the folder for this process. Raises BlockingIOError when another holds it; OSError."""
    if new:
        folder.mkdir(parents=True)
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
