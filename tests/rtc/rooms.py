"""A room to test, and all that it told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rtc.media import Media, Quality, Side, Silence
from rtc.recordings import Recordings
from rtc.room import Bounds, MediaRoom, open_rooms
from rtc.threads import Threads
from tests.rtc.peers import LOOPBACK, Peer


class Heard:
    """`RoomEvents` that are remembered as tuples, the first word being the event's name."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._told = asyncio.Event()

    def _tell(self, *event: Any) -> None:
        self.events.append(event)
        self._told.set()

    def connected(self, side: Side, generation: int) -> None:
        self._tell("connected", side, generation)

    def silent(self, side: Side, generation: int, silence: Silence) -> None:
        self._tell("silent", side, generation, silence)

    def heard(self, side: Side, generation: int) -> None:
        self._tell("heard", side, generation)

    def failed(self, side: Side, generation: int, reason: str) -> None:
        self._tell("failed", side, generation, reason)

    def quality(self, side: Side, generation: int, quality: Quality) -> None:
        self._tell("quality", side, generation, quality)

    def recorder_failed(self, side: Side, generation: int, reason: str) -> None:
        self._tell("recorder_failed", side, generation, reason)

    async def until(self, *event: Any, seconds: float = 20.0) -> tuple[Any, ...]:
        """The first event that begins so, once it has happened."""
        async with asyncio.timeout(seconds):
            while True:
                for told in self.events:
                    if told[: len(event)] == event:
                        return told
                self._told.clear()
                await self._told.wait()

    async def until_told(self, times: int, *event: Any, seconds: float = 30.0) -> None:
        """Until so many events that begin so have happened."""
        async with asyncio.timeout(seconds):
            while sum(told[: len(event)] == event for told in self.events) < times:
                self._told.clear()
                await self._told.wait()

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        """Those events, in their order."""
        return [told for told in self.events if told[0] in names]


class Hall:
    """A room with its events, recordings and peers; everything is closed in the end."""

    def __init__(self, root: Path, threads: Threads) -> None:
        self.threads = threads
        self.recordings = Recordings(root, threads)
        self.heard = Heard()
        self.room: MediaRoom
        self.peers: list[Peer] = []

    def peer(self, **how: Any) -> Peer:
        """One that has not offered anything."""
        peer = Peer(**how)
        self.peers.append(peer)
        return peer

    async def enter(self, side: Side, generation: int = 1, **how: Any) -> Peer:
        """A peer of this side that has been answered."""
        peer = self.peer(**how)
        await peer.join(lambda sdp: self.room.offer(side, generation, sdp, ()))
        return peer

    async def close(self) -> None:
        await self.room.close()
        for peer in self.peers:
            await peer.close()


@asynccontextmanager
async def hall(
    root: Path, *, media: Media = "video", bounds: Bounds | None = None, call: str = "call"
) -> AsyncIterator[Hall]:
    """A room under `root`, for the time of a test."""
    threads = Threads()
    made = Hall(root, threads)
    open_room = open_rooms(made.recordings, addresses=LOOPBACK, bounds=bounds or Bounds())
    room = await open_room(call, media, made.heard)
    assert isinstance(room, MediaRoom)
    made.room = room
    try:
        yield made
    finally:
        await made.close()
        threads.close()
