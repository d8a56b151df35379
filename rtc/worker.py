"""The media process's side of calls: beats, answers what it is asked over the bus, and tells what happens in its rooms.

It holds a call's room for as long as it owns the call. What a room tells becomes moves of the call, in its order, each
bound to the ownership; a worker that was given up for lost while it stood still finds itself disowned and closes its
rooms. A stop finishes the recordings before it lets the calls go.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import events, tasks
from core.errors import AWAY
from rtc import legs, metrics, quality, states, steps, turn
from rtc.media import OfferRefused, OpenRoom, Quality, Room, Side, Silence
from storage.calls import Call, RecorderFault
from storage.redis import BUS_AWAY

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

BEAT_SECONDS: Final = 1.0
# Between two looks at whether the calls are still ours and live: for what a lost word on the bus would have told.
CHECK_BEATS: Final = 5
QUALITY_BEATS: Final = 60
OFFER_SECONDS: Final = 6.0  # below what the asker waits
CLOSE_SECONDS: Final = 10.0
# A store that is away: what a room told is told again until it is back or the call is no longer ours.
AGAIN_SECONDS: Final = 0.5


class Holding:
    """One call's room in this process. Fulfils `RoomEvents`: what is told waits in line, the room waits for nothing."""

    def __init__(self, worker: "Worker", call: Call) -> None:
        self.call = call["_id"]
        self.members = dict(zip(states.SIDES, states.members_of(call), strict=True))
        self.room: Room | None = None
        # Held while a leg is being answered: what its room tells of it comes after the leg is written down.
        self.answering: dict[Side, asyncio.Lock] = {side: asyncio.Lock() for side in states.SIDES}
        self.sums = {name: dict(sums) for name, sums in call["quality"].items()}
        self.unwritten: set[str] = set()
        self._worker = worker
        self._told: asyncio.Queue[tuple[Side, Callable[[], Awaitable[Any]]]] = asyncio.Queue()
        self._telling = tasks.spawn("rtc.telling", self._tell_forever())

    async def stop(self) -> None:
        """Tell nothing more."""
        await tasks.stop(self._telling)

    # --- RoomEvents --------------------------------------------------------------------------------------------------

    def connected(self, side: Side, generation: int) -> None:
        """The leg's media has arrived and its recorder is armed."""
        self._put(side, lambda: self._leg(side, generation, "connected"))

    def heard(self, side: Side, generation: int) -> None:
        """Media comes again."""
        self._put(side, lambda: self._leg(side, generation, "connected"))

    def failed(self, side: Side, generation: int, reason: str) -> None:
        """The leg is gone; its client offers another, or the call's deadline comes."""
        log.info("call.leg_failed", call=self.call, side=side, generation=generation, reason=reason)
        self._put(side, lambda: self._leg(side, generation, "lost", reason))

    def silent(self, side: Side, generation: int, silence: Silence) -> None:
        """Nothing has come for a while: told, then reconnecting, then the end."""
        follow: dict[Silence, Callable[[], Awaitable[Any]]] = {
            "warning": lambda: self._publish_quality(side, None),
            "reconnecting": lambda: self._leg(side, generation, "lost", "silent"),
            "lost": lambda: self._lose(side, generation),
        }
        self._put(side, follow[silence])

    def quality(self, side: Side, generation: int, quality: Quality) -> None:
        """Five seconds of a leg: both members are told, the sums are written now and then."""
        self.measured(side, quality)
        self._put(side, lambda: self._publish_quality(side, quality))

    def recorder_failed(self, side: Side, generation: int, reason: str) -> None:
        """An alarm, and a mark on the record (the call goes on)."""
        metrics.RECORDER_FAULTS.inc()
        log.error("call.recorder_failed", call=self.call, side=side, generation=generation, reason=reason)
        ctx = self._worker.ctx
        fault = RecorderFault(at=ctx.clock.now(), side=side, generation=generation, reason=reason)
        self._put(side, lambda: ctx.calls.add_recorder_fault(self.call, fault))

    # --- what follows ------------------------------------------------------------------------------------------------

    def measured(self, name: str, figures: Quality) -> None:
        """Add a measurement to the sums of this name (`storage.calls.Call.quality`)."""
        self.sums[name] = quality.added(self.sums.get(name) or quality.fresh(), figures)
        self.unwritten.add(name)

    async def write_quality(self) -> None:
        """Store the sums that have changed since they were last written."""
        unwritten = set(self.unwritten)
        if unwritten:
            await self._worker.ctx.calls.keep_quality(self.call, {name: self.sums[name] for name in unwritten})
            self.unwritten -= unwritten

    async def settled(self) -> None:
        """Until everything told so far has been followed."""
        await self._told.join()

    def _put(self, side: Side, follow: Callable[[], Awaitable[Any]]) -> None:
        self._told.put_nowait((side, follow))

    async def _tell_forever(self) -> None:
        while True:
            side, follow = await self._told.get()
            try:
                await self._follow(side, follow)
            finally:
                self._told.task_done()

    async def _follow(self, side: Side, follow: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                async with self.answering[side]:
                    await follow()
            except AWAY as error:
                log.warning("call.event_waits", call=self.call, error=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                log.exception("call.event_failed", call=self.call)
                return
            else:
                return

    async def _leg(self, side: Side, generation: int, state: Any, why: str | None = None) -> None:
        ctx = self._worker.ctx
        call = await legs.changed(
            ctx, self.call, owner=ctx.process, side=side, generation=generation, state=state, why=why
        )
        if call is None:
            self._worker.let_go(self.call)

    async def _lose(self, side: Side, generation: int) -> None:
        ctx = self._worker.ctx
        await legs.lose(ctx, self.call, owner=ctx.process, side=side, generation=generation)

    async def _publish_quality(self, side: Side, measured: Quality | None) -> None:
        figures = asdict(measured) if measured is not None else dict.fromkeys(quality.FIGURES)
        data = {"call": self.call, "account": self.members[side], "silent": measured is None, **figures}
        await events.publish(self._worker.ctx, "call.quality", to=list(self.members.values()), data=data)


class Worker:
    """Start it inside the running loop, after the bus; `stop` ends its calls' rooms in order."""

    def __init__(self, ctx: "Context", open_room: OpenRoom) -> None:
        self.ctx = ctx
        self.rooms: dict[str, Holding] = {}
        self._open_room = open_room
        # Called when a room has closed and its recording may be taken away.
        self.on_closed: Callable[[], None] = lambda: None
        self._taking: dict[str, asyncio.Lock] = {}
        self._leaving = False
        self._beating: asyncio.Task[None] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve, and beat so that calls are brought here; Redis may be away, it is tried again with every beat."""
        bus = self.ctx.bus
        for op, handler in (
            ("rtc.offer", self._offer),
            ("rtc.candidates", self._candidates),
            ("rtc.stats", self._stats),
        ):
            bus.serve(op, handler)
        bus.on(steps.ENDED_TOPIC, lambda told: self.let_go(told["call"]))
        await self._beat()
        self._beating = tasks.spawn("rtc.beat", self._beat_forever())

    async def stop(self) -> None:
        """Take no more calls, finish the recordings, and leave the calls to the other processes."""
        self._leaving = True
        await tasks.stop(self._beating)
        try:
            await self.ctx.heartbeats.leave(self.ctx.process)
        except BUS_AWAY as error:  # the heartbeat ends by itself
            log.warning("rtc.not_told", error=type(error).__name__)
        held = list(self.rooms)
        await asyncio.gather(*(self._leave(call) for call in held))

    async def _leave(self, call: str) -> None:
        await self._close(call)
        try:
            await legs.release(self.ctx, call, owner=self.ctx.process)
        except AWAY as error:  # it is found lost
            log.warning("rtc.not_released", call=call, error=type(error).__name__)

    async def _beat_forever(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            beats += 1
            try:
                await self._beat()
                if beats % CHECK_BEATS == 0:
                    await self.check()
                if beats % QUALITY_BEATS == 0:
                    for holding in list(self.rooms.values()):
                        await holding.write_quality()
            except AWAY as error:
                log.warning("rtc.store_away", error=type(error).__name__)
            except Exception:
                log.exception("rtc.beat_failed")

    async def _beat(self) -> None:
        try:
            await self.ctx.heartbeats.beat(self.ctx.process, len(self.rooms))
        except BUS_AWAY as error:
            metrics.HEARTBEATS.labels("away").inc()
            log.warning("rtc.no_heartbeat", error=type(error).__name__)
        else:
            metrics.HEARTBEATS.labels("sent").inc()

    async def check(self) -> None:
        """Close the rooms of calls that have ended or are another's by now."""
        calls = await self.ctx.calls.many(list(self.rooms))
        for id_ in list(self.rooms):
            call = calls.get(id_)
            if call is None or call["owner"] != self.ctx.process:
                self.let_go(id_)

    # --- rooms -------------------------------------------------------------------------------------------------------

    async def _take(self, call_id: str, seen: str | None) -> Holding | None:
        """The call's room, opened here if the call is to be had; None: it is another's, or over.

        Raises OSError when its recording cannot be written: a call is never carried unrecorded.
        """
        async with self._taking.setdefault(call_id, asyncio.Lock()):
            if call_id in self.rooms:
                return self.rooms[call_id]
            call = await legs.claim(self.ctx, call_id, seen=seen, process=self.ctx.process)
            if call is None:
                self._taking.pop(call_id, None)
                return None
            holding = Holding(self, call)
            try:
                holding.room = await self._open_room(call_id, call["media"], holding)
                await self._expect(holding.call, holding.room)
            except BaseException:
                self._taking.pop(call_id, None)
                if holding.room is not None:
                    await holding.room.close()
                await holding.stop()
                await legs.release(self.ctx, call_id, owner=self.ctx.process)
                raise
            self.rooms[call_id] = holding
            metrics.ROOMS.set(len(self.rooms))
            return holding

    async def _expect(self, call_id: str, room: Room) -> None:
        """Write down that there will be a recording, before anything is recorded: a lost one is missed then."""
        ctx = self.ctx
        await ctx.calls.expect_recording(call_id, room.id, process=ctx.process, at=ctx.clock.now())

    def let_go(self, call_id: str) -> None:
        """The call has ended or is another's: close its room beside the caller."""
        if call_id in self.rooms:
            tasks.spawn("rtc.close", self._close(call_id))

    async def _close(self, call_id: str) -> None:
        holding = self.rooms.pop(call_id, None)
        self._taking.pop(call_id, None)
        if holding is None or holding.room is None:
            return
        metrics.ROOMS.set(len(self.rooms))
        try:
            await asyncio.wait_for(holding.room.close(), CLOSE_SECONDS)
            self.on_closed()
            # What it told last may be the end of the call itself, in the middle of being followed.
            await asyncio.wait_for(holding.settled(), CLOSE_SECONDS)
            await asyncio.wait_for(self._keep_quality(holding), CLOSE_SECONDS)
        except Exception:  # its files are on the disk, and whoever collects finds them
            log.exception("call.close_failed", call=call_id)
        await holding.stop()

    async def _keep_quality(self, holding: Holding) -> None:
        while True:
            try:
                await holding.write_quality()
            except AWAY as error:
                log.warning("call.quality_waits", call=holding.call, error=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    # --- what is asked over the bus ----------------------------------------------------------------------------------

    async def _offer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._leaving:
            return {"refused": "elsewhere", "leaving": True}
        try:
            holding = await self._take(asked["call"], asked["owner"])
        except OSError as error:
            metrics.RECORDER_FAULTS.inc()
            log.error("call.cannot_record", call=asked["call"], error=type(error).__name__)
            return {"refused": "unrecordable"}
        if holding is None or holding.room is None:
            return {"refused": "elsewhere"}
        side, generation = asked["side"], asked["generation"]
        async with holding.answering[side]:
            try:
                sdp = await asyncio.wait_for(
                    holding.room.offer(
                        side, generation, asked["sdp"], [turn.read(server) for server in asked["ice_servers"]]
                    ),
                    OFFER_SECONDS,
                )
            except OfferRefused as refused:
                return {"refused": "invalid", "reason": refused.reason}
            call = await legs.changed(
                self.ctx, asked["call"], owner=self.ctx.process, side=side, generation=generation, state="connecting"
            )
        if call is None:
            await self._close(asked["call"])
            return {"refused": "elsewhere"}
        return {"sdp": sdp}

    async def _candidates(self, asked: dict[str, Any]) -> dict[str, Any]:
        holding = self.rooms.get(asked["call"])
        if holding is not None and holding.room is not None:
            try:
                await holding.room.candidates(asked["side"], asked["generation"], asked["candidates"])
            except OfferRefused as refused:
                return {"refused": "invalid", "reason": refused.reason}
        return {}

    async def _stats(self, asked: dict[str, Any]) -> dict[str, Any]:
        holding = self.rooms.get(asked["call"])
        if holding is not None:
            holding.measured(f"{asked['side']}_received", Quality(**asked["figures"]))
        return {}
