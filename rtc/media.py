"""What the two halves of calls ask of each other, in words that no media library is needed for.

The signalling half (`service`, `commands`, `jobs`, `worker`) decides whether a call may be and what state it is in; the
media half (`room`, `leg`, `forwarding`, `recorder`, `ice`) carries and records it. A `Room` tells what happens in it
through the `RoomEvents` it was made with; it decides nothing about the call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Side = Literal["doctor", "patient"]
Media = Literal["audio", "video"]
Silence = Literal["warning", "reconnecting", "lost"]


class OfferRefused(Exception):
    """The description is no session description we can answer; `reason` is a stable word without its content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class IceServer:
    """A STUN or TURN server as `RTCIceServer` wants it; the credential is short-lived (coturn `use-auth-secret`)."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


@dataclass(frozen=True)
class Quality:
    """What one side sent us over the last five seconds; None where nothing tells yet.

    `loss` is a fraction from 0 to 1, `jitter` and `round_trip` are seconds, `bitrate` is bits per second.
    """

    loss: float | None
    jitter: float | None
    round_trip: float | None
    bitrate: int


@dataclass(frozen=True)
class Segment:
    """One closed file of a recording: what one side sent while one generation of its leg lived.

    `offset` is seconds from the recording's beginning to the segment's first packet, `duration` seconds; the digests
    are lower-case hexadecimal.
    """

    side: Side
    generation: int
    name: str
    size: int
    started_at: datetime
    offset: float
    duration: float
    sha256: str
    sm3: str


@dataclass(frozen=True)
class Moment:
    """Something on a recording's timeline; `offset` is seconds from its beginning."""

    offset: float
    side: Side
    what: Literal["joined", "left", "muted", "unmuted", "camera_off", "camera_on", "gap", "recorder_failed"]
    generation: int
    seconds: float | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything recorded of one call by one process, as it lies in its folder; it ends with the room."""

    call: str
    began_at: datetime
    segments: tuple[Segment, ...]
    timeline: tuple[Moment, ...]


class RoomEvents(Protocol):
    """Told by a room, in the order in which it happened; the room does not wait for what follows from it."""

    def connected(self, side: Side, generation: int) -> None:
        """Media of this leg has arrived and its recorder is armed."""

    def silent(self, side: Side, generation: int, silence: Silence) -> None:
        """Nothing has come from the leg for 3 s (`warning`), 10 s (`reconnecting`) or 30 s (`lost`)."""

    def heard(self, side: Side, generation: int) -> None:
        """Media comes again after a silence."""

    def failed(self, side: Side, generation: int, reason: str) -> None:
        """The leg could not be set up within its time or its connection broke; the room lives on."""

    def quality(self, side: Side, generation: int, quality: Quality) -> None:
        """Every five seconds of a connected leg."""

    def recorder_failed(self, side: Side, generation: int, reason: str) -> None:
        """Recording of this leg broke and goes on in a new segment: for an alarm and for the record."""


class Room(Protocol):
    """The two legs of one live call in this process, and their recording."""

    @property
    def id(self) -> str:
        """Tells its recording from those of the call's other rooms."""

    async def offer(self, side: Side, generation: int, sdp: str, ice_servers: Sequence[IceServer]) -> str:
        """The answer to a client's offer; a higher generation replaces the leg, a lower one is `OfferRefused`."""

    async def candidates(self, side: Side, generation: int, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Further candidates (`RTCIceCandidateInit`) of this generation; for another one nothing happens.

        `OfferRefused` for what is no candidate.
        """

    async def close(self) -> Manifest:
        """End both legs and the recording; nothing of the room is left but its files."""


class OpenRoom(Protocol):
    """Makes a room; given to the worker by `app/wiring.py`, so that only the rtc role loads media code."""

    async def __call__(self, call: str, media: Media, events: RoomEvents) -> Room:
        """An empty room with its recording folder; raises OSError when the folder cannot be written."""
