"""Calls acted through the services in a whole hospital: real stores, real bus, media processes without media.

Every media process here has a context and an end of the bus of its own, as it has in a process of its own; it can be
stopped in order, and killed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from core import tasks
from core.auth import Caller
from core.commands import Session
from core.context import Context
from core.directory import service as directory
from core.ids import new_id
from rtc import routing, service
from rtc.worker import Worker
from storage.bus import Bus
from storage.heartbeats import Heartbeats
from storage.redis import Redis, connect
from tests.core.consulting import Case, House, under_way
from tests.core.partial import a_doctor, caller_of
from tests.rtc.standing_in import Rooms, StandInRoom

WAIT_SECONDS = 8
SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n"
CONSENT = {"version": "1"}


async def until(holds: Callable[[], Any]) -> None:
    """Wait, within bounds, for what no event tells of; `holds` may be a coroutine function."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            held = holds()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.01)


@dataclass
class MediaProcess:
    """One media process in the test's own."""

    ctx: Context
    worker: Worker
    rooms: Rooms
    redis: Redis
    is_over: bool = False

    def room(self, call_id: str) -> StandInRoom:
        return self.rooms.opened[call_id]

    async def followed(self) -> None:
        """Until everything the rooms have told has been followed."""
        for holding in list(self.worker.rooms.values()):
            await holding.settled()

    async def stop(self) -> None:
        """As SIGTERM ends it."""
        if not self.is_over:
            self.is_over = True
            await self.worker.stop()
            await self._leave()

    async def kill(self) -> None:
        """As kill -9 ends it: nothing is told, written or let go of; nobody listens any more."""
        if not self.is_over:
            self.is_over = True
            await tasks.stop(self.worker._beating)
            for holding in self.worker.rooms.values():
                await holding.stop()
            self.worker.rooms.clear()
            await self._leave()

    async def _leave(self) -> None:
        await self.ctx.bus.stop()
        await self.redis.aclose()


@dataclass
class Calling:
    """The hospital, its media processes, and shortcuts into the middle of a call."""

    house: House
    redis_url: str
    processes: list[MediaProcess] = field(default_factory=list)

    @property
    def ctx(self) -> Context:
        return self.house.ctx

    async def process(self) -> MediaProcess:
        """A further media process; ends with the test."""
        redis = connect(self.redis_url)
        name = new_id()
        prefix = self.ctx.store.db.name
        bus = Bus(redis, name, prefix=f"bus:{prefix}")
        await bus.start()
        ctx = replace(self.ctx, process=name, bus=bus, heartbeats=Heartbeats(redis, prefix))
        rooms = Rooms()
        made = MediaProcess(ctx, Worker(ctx, rooms), rooms, redis)
        await made.worker.start()
        self.processes.append(made)
        return made

    async def tidy(self) -> None:
        """No process, no live call, and nothing left for a worker to do."""
        for process in self.processes:
            await process.stop()
        self.processes.clear()
        await under_way()
        gone = {"live_visit": "", "live_doctor": "", "live_patient": "", "owner": ""}
        await self.ctx.store.db["calls"].update_many(
            {"status": {"$ne": "ended"}},
            {"$set": {"status": "ended", "deadline_at": None, "duties": []}, "$unset": gone},
        )

    # --- people and visits -------------------------------------------------------------------------------------------

    async def doctor(self) -> Caller:
        """A doctor nobody else has, who takes no fee."""
        doctor = caller_of("doctor")
        await self.ctx.doctors.add(a_doctor(doctor.id, fees={"consult": 0, "followup": 0}, online=True))
        await self.ctx.catalogue.changed()
        return doctor

    async def visit(self, doctor: Caller | None = None, patient: tuple[Caller, str] | None = None) -> Case:
        """A visit in progress; doctor and patient are new unless given."""
        doctor = doctor or await self.doctor()
        caller, patient_id = patient or await self.house.patient()
        visit = await self.house.submit(caller, await self.house.form(patient_id, doctor))
        case = Case(self.house, caller, doctor, visit["_id"], "")
        await case.act(doctor, "accept")
        return case

    async def another_visit(self, case: Case) -> Case:
        """Of the same patient with another doctor."""
        return await self.visit(patient=(case.patient, (await case.visit())["patient"]["id"]))

    def session(self, caller: Caller, device: str = "device-1", **more: Any) -> Session:
        """A socket's session of this person."""
        given: dict[str, Any] = {"scope": "full", "call": None} | more
        return Session(
            id=new_id(),
            account=caller.id,
            role=caller.role,
            device=device,
            login=caller.session,
            expires_at=0,
            address="10.1.2.3",
            **given,
        )

    # --- calls in the middle of their life ---------------------------------------------------------------------------

    async def stored(self, call_id: str) -> Any:
        """As the store has it."""
        return await self.ctx.calls.get(call_id)

    async def ringing(self, case: Case, request: str | None = None, **how: Any) -> Any:
        """The doctor has invited."""
        given: dict[str, Any] = {"conversation": case.id, "media": "video"} | how
        return await service.invite(self.ctx, self.session(case.doctor), request or new_id(), **given)

    async def answered(self, case: Case) -> Any:
        """The patient has answered."""
        call = await self.ringing(case)
        return await service.accept(self.ctx, self.session(case.patient), call_id=call["_id"], consent=CONSENT)

    async def offer(self, who: Caller, call_id: str, generation: int = 1, sdp: str = SDP) -> Any:
        """One side's offer, through the routing."""
        return await routing.offer(self.ctx, self.session(who), call_id=call_id, generation=generation, sdp=sdp)

    async def active(self, case: Case, process: MediaProcess) -> Any:
        """Both talk."""
        call = await self.answered(case)
        for who, side in ((case.doctor, "doctor"), (case.patient, "patient")):
            await self.offer(who, call["_id"])
            process.room(call["_id"]).connect(side)
        await process.followed()
        return await self.stored(call["_id"])

    async def pass_deadline(self, call_id: str) -> None:
        """Let the deadline of the call come, and let the worker look once."""
        await self.house.pass_deadline("calls", call_id)

    async def cards(self, case: Case) -> list[Any]:
        """The call cards in the chat."""
        await under_way()
        return [said for said in await case.said() if said.get("card") == "call_record"]


async def publish_consent(ctx: Context) -> None:
    """The text that patients agree to before they are recorded."""
    await directory.publish_consent_text(
        ctx,
        kind=service.RECORDING,
        version="1",
        title="录制告知书",
        body="录制告知书全文",
        effective_at=ctx.clock.now(),
        by="system",
    )
