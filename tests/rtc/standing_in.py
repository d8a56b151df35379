"""Rooms without media: they keep what they are asked and tell what a test has them tell."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from app.wiring import Media
from rtc.media import IceServer, Manifest, Moment, OfferRefused, Quality, RoomEvents, Segment, Side
from rtc.media import Media as Kind

BEGAN = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def answer_to(sdp: str) -> str:
    """What a room here answers to an offer."""
    return f"answer to {sdp}"


class StandInRoom:
    """Fulfils `rtc.media.Room`."""

    def __init__(self, call: str, media: Kind, events: RoomEvents) -> None:
        self.call = call
        self.media = media
        self.events = events
        self.generations: dict[Side, int] = {}
        self.offers: list[tuple[Side, int, str]] = []
        self.ice_servers: list[IceServer] = []
        self.trickled: list[tuple[Side, int, list[Any]]] = []
        self.closed = asyncio.Event()
        self.id = secrets.token_hex(8)

    async def offer(self, side: Side, generation: int, sdp: str, ice_servers: Any) -> str:
        if not sdp.startswith("v=0"):
            raise OfferRefused("not_sdp")
        if generation < self.generations.get(side, 0):
            raise OfferRefused("old_generation")
        self.generations[side] = generation
        self.offers.append((side, generation, sdp))
        self.ice_servers = list(ice_servers)
        return answer_to(sdp)

    async def candidates(self, side: Side, generation: int, candidates: Any) -> None:
        if any(one["candidate"] == "none" for one in candidates):
            raise OfferRefused("not_a_candidate")
        self.trickled.append((side, generation, list(candidates)))

    async def close(self) -> Manifest:
        self.closed.set()
        segments = tuple(
            Segment(side, generation, f"{side}-{generation}.webm", 1_000, BEGAN, 0.0, 1.5, "0" * 64, "1" * 64)
            for side, generation in self.generations.items()
        )
        timeline = tuple(Moment(0.0, side, "joined", generation) for side, generation in self.generations.items())
        return Manifest(self.call, BEGAN, segments, timeline)

    # --- what its media would have it tell ---------------------------------------------------------------------------

    def connect(self, side: Side) -> None:
        self.events.connected(side, self.generations[side])

    def fall_silent(self, side: Side, silence: Any) -> None:
        self.events.silent(side, self.generations[side], silence)

    def hear(self, side: Side) -> None:
        self.events.heard(side, self.generations[side])

    def fail(self, side: Side) -> None:
        self.events.failed(side, self.generations[side], "broken")

    def measure(self, side: Side, **figures: Any) -> None:
        measured: dict[str, Any] = {"loss": 0.0, "jitter": 0.01, "round_trip": 0.05, "bitrate": 500_000} | figures
        self.events.quality(side, self.generations[side], Quality(**measured))


class Rooms:
    """Fulfils `rtc.media.OpenRoom`; `fault` is raised instead of opening when set."""

    def __init__(self) -> None:
        self.opened: dict[str, StandInRoom] = {}
        self.fault: Exception | None = None

    def media(self) -> Media:
        """As a process of the role `rtc` takes it."""

        async def close() -> None:
            """There are no threads."""

        return Media(self, close)

    async def __call__(self, call: str, media: Kind, events: RoomEvents) -> StandInRoom:
        if self.fault is not None:
            raise self.fault
        self.opened[call] = StandInRoom(call, media, events)
        return self.opened[call]
