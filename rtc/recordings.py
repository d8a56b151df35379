"""The folder of recordings: where they are opened, what crashed processes left, and how files get to the file store.

A folder belongs to one room of one process, which holds its lock while it lives; the system lets go of a dead one's.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from rtc import manifests
from rtc.digests import digest
from rtc.manifests import Unfinished
from rtc.media import Manifest, Segment, Side
from rtc.recording import Recording, lock_folder
from rtc.segments import SUFFIXES, length_of
from rtc.threads import Threads

log = structlog.get_logger()

Store = Callable[[str, Path], Awaitable[None]]

_CALL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Matroska files of at least a header: shorter ones never got a frame.
_NAME: Final = re.compile(r"(doctor|patient)-(\d+)-\d+")
# Between the making of a folder and its first manifest passes less.
_YOUNG_SECONDS: Final = 60.0
_SEGMENT_SUFFIXES: Final = frozenset(SUFFIXES.values())


class Recordings:
    """All recordings under one folder of this machine; several processes may share it."""

    def __init__(self, root: Path, threads: Threads) -> None:
        self._root, self._threads = root, threads

    async def open(self, call: str) -> Recording:
        """A new recording. Raises OSError when the folder cannot be written, ValueError for an id that is none."""
        if not _CALL.fullmatch(call):
            raise ValueError("no id of a call")
        folder = self._root / f"{call}.{secrets.token_hex(8)}"
        return await Recording.open(folder, call, self._threads)

    async def left_behind(self) -> list[Path]:
        """Folders that no process holds: calls whose process died, or whose files were not handed over completely."""
        return await self._threads.handle(self._unlocked)

    def _unlocked(self) -> list[Path]:
        return sorted(folder for folder in self._folders() if _is_unlocked(folder))

    def _folders(self) -> list[Path]:
        return [one for one in self._root.iterdir() if one.is_dir()] if self._root.is_dir() else []

    async def manifest(self, folder: Path) -> Manifest:
        """Of a folder left behind: as its process wrote it, completed from the files that it could not close.

        Raises OSError; ValueError when the folder has no manifest that can be read.
        """
        return await self._threads.handle(partial(_completed, folder))

    async def clear(self, folder: Path) -> bool:
        """Take away a folder in which no recording is left; False: there is one.

        BlockingIOError: it is another process's, or so young that it may just be being made.
        """
        return await self._threads.handle(partial(_cleared, folder))

    async def hand_over(self, folder: Path, store: Store) -> None:
        """Give every file of a finished recording to `store` by its name and delete it once that returned.

        The manifest goes last and the folder with it, so that this may be repeated until it does not raise: whatever
        `store` raises, or OSError. BlockingIOError: its process, or another that hands it over, lives.
        """
        lock = await self._threads.handle(partial(lock_folder, folder))
        try:
            for path in await self._threads.handle(partial(_files, folder)):
                await store(path.name, path)
                await self._threads.handle(partial(path.unlink, missing_ok=True))
            await self._threads.handle(partial(shutil.rmtree, folder))
        finally:
            os.close(lock)


def _cleared(folder: Path) -> bool:
    if _files(folder):
        return False
    if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
        raise BlockingIOError("a folder in the making")
    lock = lock_folder(folder)
    try:
        if _files(folder):
            return False
        shutil.rmtree(folder)
    finally:
        os.close(lock)
    return True


def _is_unlocked(folder: Path) -> bool:
    try:
        os.close(lock_folder(folder))
    except BlockingIOError:
        return False
    except FileNotFoundError:  # it was handed over meanwhile
        return False
    return True


def _files(folder: Path) -> list[Path]:
    """Segments first, the manifest last; locks and half-written manifests are nobody's evidence."""
    segments = sorted(path for path in folder.iterdir() if path.suffix in _SEGMENT_SUFFIXES)
    manifest = folder / manifests.NAME
    return [*segments, *([manifest] if manifest.exists() else [])]


def _completed(folder: Path) -> Manifest:
    lock = lock_folder(folder)
    try:
        if not (folder / manifests.NAME).exists():
            raise ValueError("no manifest")
        draft = manifests.load(folder)
        segments = list(draft.manifest.segments)
        known = {segment.name for segment in segments}
        unfinished = {one.name: one for one in draft.unfinished}
        for path in _files(folder):
            if path.name in known or path.suffix not in _SEGMENT_SUFFIXES:
                continue
            segment = _closed(path, unfinished.get(path.name), draft.manifest.began_at)
            if segment is not None:
                segments.append(segment)
        manifest = Manifest(
            draft.manifest.call,
            draft.manifest.began_at,
            tuple(sorted(segments, key=lambda one: (one.offset, one.side, one.name))),
            draft.manifest.timeline,
        )
        manifests.save(folder, manifests.Draft(manifest))
        return manifest
    finally:
        os.close(lock)


def _closed(path: Path, noted: Unfinished | None, began_at: datetime) -> Segment | None:
    """A segment whose process died; None when nothing of it can be played."""
    named, duration = _NAME.fullmatch(path.stem), length_of(path)
    if duration is None or named is None:
        log.warning("rtc.segment_unreadable", name=path.name)
        return None
    if noted is None:  # the process died before the manifest was written: the file's own times must do
        started_at = datetime.fromtimestamp(path.stat().st_mtime - duration, UTC)
        offset = max(0.0, (started_at - began_at).total_seconds())
        side: Side = "doctor" if named[1] == "doctor" else "patient"
        noted = Unfinished(side, int(named[2]), path.name, started_at, offset)
    found = digest(path)
    return Segment(
        noted.side, noted.generation, noted.name, found.size, noted.started_at, noted.offset,
        round(duration, 3), found.sha256, found.sm3,
    )  # fmt: skip
