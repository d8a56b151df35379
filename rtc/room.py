"""The two legs of one live call: who is connected to whom, how long nobody was heard, what is told and recorded."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core import tasks
from rtc.guard import require_known
from rtc.ice import read_offer
from rtc.leg import Leg
from rtc.media import IceServer, Manifest, Media, Moment, OfferRefused, OpenRoom, RoomEvents, Side, Silence
from rtc.recorder import Recorder
from rtc.recording import Recording
from rtc.recordings import Recordings
from rtc.wire import Addresses

log = structlog.get_logger()

LEGS = Gauge("rtc_legs", "Legs of live calls in this process")
PACKETS = Counter("rtc_packets_total", "Packets of calls: received, sent, refused or dropped", ["what"])
LAG = Histogram(
    "rtc_loop_lag_seconds", "How late the loop is with a room's tick", buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
)

# Nobody notices a microphone off for a breath, everybody one that stays off.
MUTED_SECONDS: Final = 2.0
_FAR: Final[Mapping[Side, Side]] = {"doctor": "patient", "patient": "doctor"}
_ABSENCE: Final[Mapping[str, tuple[Literal["muted", "camera_off"], Literal["unmuted", "camera_on"]]]] = {
    "audio": ("muted", "unmuted"),
    "video": ("camera_off", "camera_on"),
}


@dataclass(frozen=True)
class Bounds:
    """How long things may take, in seconds; tests choose shorter ones."""

    set_up: float = 20.0
    warning: float = 3.0
    reconnecting: float = 10.0
    lost: float = 30.0
    quality: float = 5.0
    report: float = 1.0
    tick: float = 0.5

    def silences(self) -> tuple[tuple[float, Silence], ...]:
        """In the order in which they come."""
        return ((self.warning, "warning"), (self.reconnecting, "reconnecting"), (self.lost, "lost"))


class _Seat:
    """One generation of one side with its recorder and what was told of it."""

    def __init__(self, leg: Leg, offer: str, answer: str, until: float) -> None:
        self.leg, self.offer, self.answer = leg, offer, answer
        self.set_up_until: float | None = until
        self.recorder: Recorder | None = None
        self.has_begun = self.is_connected = self.has_left = False
        self.silences = 0
        self.silent_since = 0.0
        self.absent: set[str] = set()
        self.reported_at = self.quality_at = time.monotonic()
        self.counted = (0, 0, 0, 0)

    def repeats(self, generation: int, digest: str) -> bool:
        """Whether this is the offer that was answered here, whose answer still leads somewhere."""
        return not self.has_left and (generation, digest) == (self.leg.generation, self.offer)


class MediaRoom:
    """A `rtc.media.Room`."""

    def __init__(
        self,
        call: str,
        media: Media,
        events: RoomEvents,
        recording: Recording,
        *,
        addresses: Addresses | None = None,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._call, self._media, self._events, self._recording = call, media, events, recording
        self._addresses, self._bounds = addresses, bounds
        self._seats: dict[Side, _Seat] = {}
        self._turns: dict[Side, asyncio.Lock] = {"doctor": asyncio.Lock(), "patient": asyncio.Lock()}
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._closing: asyncio.Task[Manifest] | None = None
        self._has_asked_for_codec = False
        self._ticking = tasks.spawn("rtc.room", self._tick())

    # The Room protocol

    @property
    def id(self) -> str:
        """As the folder of its recording is named, behind the call."""
        return self._recording.folder.name.partition(".")[2]

    async def offer(self, side: Side, generation: int, sdp: str, ice_servers: Sequence[IceServer]) -> str:
        """See `rtc.media.Room`; an offer that is repeated as it was gets its answer again."""
        async with self._turns[side]:
            seat = self._seats.get(side)
            digest = hashlib.sha256(sdp.encode(errors="surrogatepass")).hexdigest()
            if seat is not None and seat.repeats(generation, digest):
                return seat.answer
            if self._is_closed or (seat is not None and generation <= seat.leg.generation):
                raise OfferRefused("closed" if self._is_closed else "generation")
            leg, answer = await self._answer(side, generation, sdp, ice_servers)
            if seat is not None:
                self._leave(seat)
            self._sit_down(_Seat(leg, digest, answer, time.monotonic() + self._bounds.set_up))
            return answer

    async def _answer(self, side: Side, generation: int, sdp: str, ice_servers: Sequence[IceServer]) -> tuple[Leg, str]:
        offer = read_offer(sdp, self._media)
        far = self._seats.get(_FAR[side])
        leg = Leg(side, generation, ice_servers, began=self._began, broke=self._broke)
        try:
            answer = await leg.answer(offer, far.leg.preferred.get("video") if far else None, self._addresses)
            if self._is_closed:
                raise OfferRefused("closed")
        except BaseException:
            await leg.close()
            raise
        return leg, answer

    async def candidates(self, side: Side, generation: int, candidates: Sequence[Mapping[str, Any]]) -> None:
        """See `rtc.media.Room`; raises `OfferRefused` for what is no candidate."""
        seat = self._seats.get(side)
        if seat is not None and seat.leg.generation == generation:
            await seat.leg.add_candidates(candidates)

    async def close(self) -> Manifest:
        """See `rtc.media.Room`; a second time the same manifest."""
        if self._closing is None:
            self._is_closed = True
            self._closing = tasks.spawn("rtc.closing", self._close_all())
        # Who gives up waiting does not leave a room half closed.
        return await asyncio.shield(self._closing)

    async def _close_all(self) -> Manifest:
        await tasks.stop(self._ticking)
        for turn in self._turns.values():
            async with turn:
                pass  # whoever is being answered sees that the room is closed
        for seat in self._seats.values():
            self._leave(seat)
        self._seats.clear()
        while self._leaving:
            await asyncio.wait(self._leaving)
        return await self._recording.finish()

    # Legs come and go

    def _sit_down(self, seat: _Seat) -> None:
        leg = seat.leg
        self._seats[leg.side] = seat
        LEGS.inc()
        seat.recorder = Recorder(
            self._recording,
            leg.side,
            leg.generation,
            leg.kinds,
            armed=lambda: self._may_be_connected(seat),
            failed=lambda reason: self._events.recorder_failed(leg.side, leg.generation, reason),
            want_key_frame=leg.forwarder.ask_key_frame,
        )
        leg.forwarder.recorder = seat.recorder
        far = self._seats.get(_FAR[leg.side])
        if far is None or far.has_left:
            return
        leg.forwarder.connect(far.leg.forwarder)
        if not _understand_each_other(leg, far.leg) and not self._has_asked_for_codec:
            # The other side's encoder uses what this side cannot decode: with a new offer it gets this side's codec.
            # Once only: two who have nothing in common still hear each other, and both pictures are recorded.
            self._has_asked_for_codec = True
            self._end(far, "codec")

    def _leave(self, seat: _Seat) -> None:
        """Close the leg and complete its recording, beside everything else."""
        if seat.has_left:
            return
        seat.has_left = True
        seat.leg.forwarder.disconnect()
        LEGS.dec()
        self._count(seat)
        if seat.is_connected:
            self._note(seat, "left")
        task = tasks.spawn("rtc.leaving", self._close(seat))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _close(self, seat: _Seat) -> None:
        try:
            await seat.leg.close()
        finally:
            if seat.recorder is not None:
                await seat.recorder.close()
                seat.recorder = None

    def _end(self, seat: _Seat, reason: str) -> None:
        """A leg failed; its seat stays taken, so that only a higher generation may follow."""
        if seat.has_left:
            return
        self._leave(seat)
        self._events.failed(seat.leg.side, seat.leg.generation, reason)

    def _seat_of(self, leg: Leg) -> _Seat | None:
        seat = self._seats.get(leg.side)
        return seat if seat is not None and seat.leg is leg and not seat.has_left else None

    def _broke(self, leg: Leg, reason: str) -> None:
        seat = self._seat_of(leg)
        if seat is not None:
            self._end(seat, reason)

    def _began(self, leg: Leg) -> None:
        seat = self._seat_of(leg)
        if seat is not None:
            seat.has_begun = True
            self._recording.offset(time.monotonic())
            self._may_be_connected(seat)

    def _may_be_connected(self, seat: _Seat) -> None:
        """Told once, when there is something to record and something to record it."""
        if seat.is_connected or seat.has_left or not seat.has_begun:
            return
        if seat.recorder is None or not seat.recorder.is_armed:
            return
        seat.is_connected, seat.set_up_until = True, None
        self._note(seat, "joined")
        self._events.connected(seat.leg.side, seat.leg.generation)

    def _note(self, seat: _Seat, what: Any, *, at: float | None = None, seconds: float | None = None) -> None:
        offset = self._recording.offset(time.monotonic() if at is None else at)
        self._recording.note(Moment(max(0.0, offset), seat.leg.side, what, seat.leg.generation, seconds))

    # What time brings

    async def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._bounds.tick, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            LAG.observe(max(0.0, now - due))
            for seat in list(self._seats.values()):
                if seat.has_left:
                    continue
                try:
                    self._look_after(seat, now)
                except Exception:  # a room that stands still records nothing more, of either side
                    log.exception("rtc.tick_failed", call=self._call, side=seat.leg.side)

    def _look_after(self, seat: _Seat, now: float) -> None:
        if seat.recorder is not None:
            seat.recorder.flush(now)
        self._count(seat)
        if seat.set_up_until is not None:
            if now >= seat.set_up_until:
                self._end(seat, "recorder" if seat.has_begun else "set_up_timeout")
                return
        else:
            self._listen(seat, now)
            self._look_for_absence(seat, now)
        if now - seat.reported_at >= self._bounds.report:
            seat.reported_at = now
            seat.leg.forwarder.report(now)
        if seat.is_connected and now - seat.quality_at >= self._bounds.quality:
            quality = seat.leg.forwarder.quality(now - seat.quality_at)
            seat.quality_at = now
            self._events.quality(seat.leg.side, seat.leg.generation, quality)

    def _listen(self, seat: _Seat, now: float) -> None:
        heard_at = seat.leg.forwarder.heard_at
        if heard_at is None:
            return
        silent, told = now - heard_at, self._bounds.silences()
        if seat.silences and silent < told[0][0]:
            seat.silences = 0
            self._note(seat, "gap", at=seat.silent_since, seconds=round(heard_at - seat.silent_since, 3))
            self._events.heard(seat.leg.side, seat.leg.generation)
        while seat.silences < len(told) and silent >= told[seat.silences][0]:
            seat.silences += 1
            seat.silent_since = heard_at
            self._events.silent(seat.leg.side, seat.leg.generation, told[seat.silences - 1][1])

    def _look_for_absence(self, seat: _Seat, now: float) -> None:
        """Microphone or camera off: the rest of the leg goes on."""
        if seat.silences:
            return
        for kind, at in seat.leg.forwarder.content_at.items():
            went, came = _ABSENCE[kind]
            if kind in seat.absent and now - at < MUTED_SECONDS:
                seat.absent.discard(kind)
                self._note(seat, came)
            elif kind not in seat.absent and now - at >= MUTED_SECONDS:
                seat.absent.add(kind)
                self._note(seat, went, at=at)

    @staticmethod
    def _count(seat: _Seat) -> None:
        wire = seat.leg.wire
        if wire is None:
            return
        counted = (wire.received, wire.sent, wire.refused, wire.dropped)
        for what, new, old in zip(("received", "sent", "refused", "dropped"), counted, seat.counted, strict=True):
            PACKETS.labels(what).inc(new - old)
        seat.counted = counted


def open_rooms(
    recordings: Recordings,
    *,
    addresses: Addresses | None = None,
    bounds: Bounds = Bounds(),
) -> OpenRoom:
    """What the worker makes rooms with. `addresses`: host addresses for ICE (None: the machine's own without loopback).

    Raises `rtc.guard.UnknownAiortc`.
    """
    require_known()

    async def open_room(call: str, media: Media, events: RoomEvents) -> MediaRoom:
        recording = await recordings.open(call)
        return MediaRoom(call, media, events, recording, addresses=addresses, bounds=bounds)

    return open_room


def _understand_each_other(leg: Leg, far: Leg) -> bool:
    """Whether the far leg's encoder makes what this leg takes; the other way round its answer has seen to it."""
    wanted, used = leg.preferred.get("video"), far.preferred.get("video")
    return wanted is None or used is None or wanted.name == used.name
