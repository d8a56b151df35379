"""From the folder of recordings to the file store and into the call, by the media process of that machine.

Each step may be repeated and no file goes from the disk before it is in the store: a file's id follows from its room
and name, the manifest goes last, and the call has it before the folder is gone. A folder that a dead process left is
handed over by whichever process of its machine looks first; locks keep two from doing it at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from core import tasks
from core.compliance import years_later
from core.errors import AWAY
from rtc import films, manifests, metrics, parts
from rtc.media import Manifest
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

LOOK_SECONDS: Final = 60.0
# After a look at which a store was away.
AGAIN_SECONDS: Final = 5.0
# What a process that stops gives the files of the calls it has just closed; the next start sees to the rest.
LAST_SECONDS: Final = 8.0

Outcome = Literal["done", "waiting", "orphaned"]


class Folders(Protocol):
    """What `rtc.recordings.Recordings` does; that loads media code, this must not."""

    async def left_behind(self) -> list[Path]:
        """Folders that no process holds."""

    async def manifest(self, folder: Path) -> Manifest:
        """The completed manifest of one. Raises OSError; ValueError when there is none that can be read."""

    async def hand_over(self, folder: Path, store: Callable[[str, Path], Awaitable[None]]) -> None:
        """Give its files to `store`, delete each that was taken, the manifest last."""

    async def clear(self, folder: Path) -> bool:
        """Take away one in which no recording is (left); False: there is something in it."""


class Collector:
    """Looks when a room has closed, at the start, and every minute."""

    def __init__(self, ctx: "Context", folders: Folders) -> None:
        self._ctx, self._folders = ctx, folders
        self._woken = asyncio.Event()
        self._orphans: set[str] = set()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at once, and then again and again."""
        self._running = tasks.spawn("rtc.collect", self._run())

    async def stop(self) -> None:
        """Look for the last time, within bounds."""
        await tasks.stop(self._running)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look(), LAST_SECONDS)

    def wake(self) -> None:
        """A room has closed."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            pause = LOOK_SECONDS if await self._look() else AGAIN_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)

    async def _look(self) -> bool:
        try:
            await self.collect()
        except AWAY as error:
            log.warning("rtc.collecting_waits", error=type(error).__name__)
            return False
        except Exception:
            log.exception("rtc.collecting_failed")
        return True

    async def collect(self) -> None:
        """Hand over what can be; raises one of `AWAY` when a store is away, then all that is left stays."""
        found = await self._folders.left_behind()
        metrics.FOLDERS_WAITING.set(len(found))
        outcomes = [await self._collect(folder) for folder in found]
        metrics.FOLDERS_WAITING.set(outcomes.count("waiting"))
        metrics.FOLDERS_ORPHANED.set(outcomes.count("orphaned"))

    async def _collect(self, folder: Path) -> Outcome:
        try:
            outcome = await self._hand_over(folder)
        except AWAY:
            raise
        except (BlockingIOError, FileNotFoundError):  # another process has it, or has had it
            return "waiting"
        except Exception:
            metrics.RECORDINGS.labels("failed").inc()
            log.exception("rtc.collecting_failed", folder=folder.name)
            return "waiting"
        if outcome == "orphaned" and folder.name not in self._orphans:
            self._orphans.add(folder.name)
            log.error("rtc.folder_orphaned", folder=folder.name)
        return outcome

    async def _hand_over(self, folder: Path) -> Outcome:
        if await self._folders.clear(folder):
            return "done"
        named = parts.call_and_room(folder.name)
        call: Call | None = await self._ctx.calls.get(named[0]) if named else None
        if named is None or call is None:
            return "orphaned"
        try:
            manifest = await self._folders.manifest(folder)
        except ValueError:
            return "orphaned"
        await self._keep(folder, call, named[1], manifest)
        metrics.RECORDINGS.labels("done").inc()
        log.info("rtc.collected", call=call["_id"], room=named[1], segments=len(manifest.segments))
        await films.settle(self._ctx, call["_id"])
        return "done"

    async def _keep(self, folder: Path, call: Call, room: str, manifest: Manifest) -> None:
        ctx, id_, known = self._ctx, call["_id"], {segment.name for segment in manifest.segments}
        now = ctx.clock.now()
        kept = parts.metadata(call, years_later(now, ctx.policy.retain_call_years))
        # Its process may have died before it could say so.
        await ctx.calls.expect_recording(id_, room, process=ctx.process, at=manifest.began_at)

        async def store(name: str, path: Path) -> None:
            if name not in known and name != manifests.NAME:
                await ctx.calls.name_unreadable(id_, room, name)
            await ctx.files.put(parts.file_of(id_, room, name), path, at=now, metadata=kept)
            if name == manifests.NAME:
                await ctx.calls.keep_recording(id_, room, asdict(manifest), at=now)

        await self._folders.hand_over(folder, store)
