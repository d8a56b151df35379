"""Calls moved by everybody in every order: whatever happens, none is stuck, each ends once, and all devices agree."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.errors import AppError
from rtc import owners, service, states, views
from tests.core.consulting import Case
from tests.rtc.calling import CONSENT, Calling, MediaProcess, until
from tests.rtc.standing_in import StandInRoom

SIDES = st.sampled_from(["doctor", "patient"])
DEVICES = st.integers(0, 1)
# Mostly the one visit: a call of the other finds the patient busy.
VISITS = st.sampled_from([0, 0, 0, 0, 1])
ENDS = ("decline", "cancel", "hangup")
TOLD = ("connect", "hear", "fail", "reconnecting", "lost")
ACTS = st.sampled_from(["invite", "accept", "offer", "deadline", "end_visit", *ENDS, *TOLD])
PROCESSES = 2


@dataclass
class Device:
    """What a phone shows: what it was last told of each call, the newer version over the older."""

    account: str
    is_on: bool = True
    was_off: bool = False
    shows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hear(self, envelope: Any) -> None:
        if self.is_on and self.account in envelope["to"] and envelope["ev"] in ("call.ringing", "call.state"):
            self.show(envelope["data"])

    def agrees(self, truth: dict[str, dict[str, Any]]) -> bool:
        """It shows every call as it is; one that was away may not have heard of a call that came and went."""
        own = {id_: call for id_, call in truth.items() if self.account in [one["account"] for one in call["members"]]}
        return self.shows == (own if not self.was_off else {id_: own[id_] for id_ in self.shows})

    def show(self, call: dict[str, Any]) -> None:
        if call["version"] >= self.shows.get(call["id"], {"version": 0})["version"]:
            self.shows[call["id"]] = call


def tell(room: StandInRoom, side: Any, what: str) -> None:
    """What the media of a room would have it tell."""
    tells = {"connect": room.connect, "hear": room.hear, "fail": room.fail}
    if what in tells:
        tells[what](side)
    else:
        room.fall_silent(side, what)


class Telephony(RuleBasedStateMachine):
    """A patient with two doctors, two devices each; `calling` and `run` are given by the test."""

    calling: Calling
    run: Any
    cases: ClassVar[list[Case]] = []

    def __init__(self):
        super().__init__()
        self.processes: list[MediaProcess] = []
        self.generations: dict[str, int] = {}
        self.number = 0

    @initialize(stage=st.sampled_from(["nothing", "ringing", "answered", "offered", "talking", "talking"]))
    def begin(self, stage):
        self.run(self.prepare)
        self.do(*([self.go_on(0, stage)] if stage != "nothing" else []))

    async def prepare(self):
        if not Telephony.cases:
            first = await self.calling.visit()
            Telephony.cases = [first, await self.calling.another_visit(first)]
        self.cases = Telephony.cases
        accounts = [self.cases[0].patient.id, *(case.doctor.id for case in self.cases)]
        self.devices = {account: [Device(account), Device(account)] for account in accounts}
        self.before = {case.id: len(await self.calling.cards(case)) for case in self.cases}
        self.calls_before = {call["_id"] for call in await self.every_call()}
        bus = self.calling.ctx.bus
        for account in accounts:
            await bus.present(account)
        self.delivered = bus.on_events
        bus.on_events = self.hear
        await self.begin_process()

    def hear(self, envelopes):
        for envelope in envelopes:
            for devices in self.devices.values():
                for device in devices:
                    device.hear(envelope)

    async def begin_process(self):
        if sum(not process.is_over for process in self.processes) < PROCESSES:
            self.processes.append(await self.calling.process())

    async def every_call(self):
        found = [
            call for case in self.cases for call in await self.calling.ctx.calls.page(case.id, before=None, limit=99)
        ]
        return sorted(found, key=lambda call: call["_id"])

    async def live(self, which):
        """The live call of this or that visit, else of the other, as the store has it."""
        calls = [await self.calling.ctx.calls.live("live_visit", case.id) for case in self.cases]
        return calls[which] or calls[1 - which]

    def do(self, *works):
        """Let these be done at once; a refusal is a fine answer."""

        async def all_of_them():
            said = await asyncio.gather(*works, return_exceptions=True)
            for one in said:
                if isinstance(one, BaseException) and not isinstance(one, AppError):
                    raise one

        self.run(all_of_them)

    # --- acts --------------------------------------------------------------------------------------------------------

    def case_of(self, call):
        return next(case for case in self.cases if case.id == call["visit_id"])

    async def invite(self, which, device):
        case = self.cases[which]
        self.number += 1
        session = self.calling.session(case.doctor, f"device-{device}")
        await service.invite(
            self.calling.ctx, session, f"{id(self)}-{self.number}", conversation=case.id, media="video"
        )

    async def accept(self, which, device):
        if (call := await self.live(which)) is not None:
            session = self.calling.session(self.cases[0].patient, f"device-{device}")
            await service.accept(self.calling.ctx, session, call_id=call["_id"], consent=CONSENT)

    async def end(self, which, side, act):
        if (call := await self.live(which)) is not None:
            session = self.calling.session(getattr(self.case_of(call), side))
            await service.end(self.calling.ctx, session, call_id=call["_id"], act=act)

    async def offer(self, which, side):
        if (call := await self.live(which)) is not None:
            number = self.generations[side] = self.generations.get(side, 0) + 1
            await self.calling.offer(getattr(self.case_of(call), side), call["_id"], number)

    async def room_tells(self, which, side, what):
        call = await self.live(which)
        for process in self.processes:
            if call is not None and not process.is_over and call["_id"] in process.worker.rooms:
                room = process.room(call["_id"])
                if side in room.generations:
                    tell(room, side, what)
                await process.followed()

    async def deadline(self, which):
        if (call := await self.live(which)) is not None:
            await self.calling.pass_deadline(call["_id"])

    async def end_visit(self, which):
        if (call := await self.live(which)) is not None:
            case = self.case_of(call)
            await case.act(case.doctor, "complete")
            Telephony.cases = []

    def act(self, which, side, device, name):
        acts = {
            "invite": lambda: self.invite(which, device),
            "accept": lambda: self.accept(which, device),
            "offer": lambda: self.offer(which, side),
            "deadline": lambda: self.deadline(which),
            "end_visit": lambda: self.end_visit(which),
        }
        if name in acts:
            return acts[name]()
        if name in ENDS:
            return self.end(which, side, name)
        return self.room_tells(which, side, name)

    @rule(which=VISITS, device=DEVICES)
    def a_doctor_invites(self, which, device):
        self.do(self.invite(which, device))

    @rule(which=VISITS)
    def both_devices_answer_at_once(self, which):
        self.do(self.accept(which, 0), self.accept(which, 1))

    @rule(which=VISITS)
    def both_talk(self, which):
        self.do(self.go_on(which, "talking"))

    @rule(which=VISITS, side=SIDES, told=st.sampled_from(TOLD))
    def a_leg_is_offered_and_its_media_tell(self, which, side, told):
        self.do(self.offer(which, side))
        self.run(self.devices_agree)
        self.do(self.room_tells(which, side, told))

    async def go_on(self, which, stage):
        """Up to this stage, from wherever the call of the visit stands."""
        if await self.live(which) is None:
            await self.invite(which, 0)
        call = await self.live(which)
        if stage != "ringing" and call is not None and call["status"] == "ringing":
            await self.accept(which, 0)
        if stage == "offered":
            await self.offer(which, "doctor")
        if stage == "talking":
            for side in ("doctor", "patient"):
                await self.offer(which, side)
                await self.room_tells(which, side, "connect")

    @rule(which=VISITS, side=SIDES, device=DEVICES, name=ACTS)
    def something_happens(self, which, side, device, name):
        self.do(self.act(which, side, device, name))

    @rule(which=VISITS, sides=st.tuples(SIDES, SIDES), names=st.tuples(ACTS, ACTS))
    def two_things_happen_at_once(self, which, sides, names):
        self.do(*(self.act(which, side, n, name) for n, (side, name) in enumerate(zip(sides, names, strict=True))))

    @rule(is_killed=st.booleans(), is_followed=st.booleans())
    def a_media_process_ends_or_begins(self, is_killed, is_followed):
        running = [process for process in self.processes if not process.is_over]
        if running:
            self.run(running[0].kill if is_killed else running[0].stop)
        if is_followed:
            self.run(self.begin_process)

    @rule()
    def the_worker_looks_for_lost_processes(self):
        self.do(owners.release_lost(self.calling.ctx))

    @rule(which=VISITS, device=DEVICES, is_patient=st.booleans())
    def a_socket_is_lost_or_back(self, which, device, is_patient):
        account = (self.cases[0].patient if is_patient else self.cases[which].doctor).id
        phone = self.devices[account][device]
        phone.is_on, phone.was_off = not phone.is_on, True
        if phone.is_on:
            self.run(lambda: self.catch_up(phone))

    async def catch_up(self, phone):
        """What a client does after a reconnect: `sync` tells of the live call, `call.state` of those it knew."""
        role = "patient" if phone.account == self.cases[0].patient.id else "doctor"
        live = await self.calling.ctx.live_calls.of(phone.account, role)
        for id_ in {*phone.shows, *([live["id"]] if live else [])}:
            phone.show(views.shown(await self.calling.stored(id_)))

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def a_person_is_in_one_live_call_and_every_state_was_reached_by_legal_steps(self):
        calls = [call for call in self.run(self.every_call) if call["_id"] not in self.calls_before]
        live = [call for call in calls if call["status"] in states.LIVE]
        assert len({call["patient_account"] for call in live}) == len(live)
        for call in calls:
            assert ("live_patient" in call) is (call["status"] in states.LIVE)
            assert (call["deadline_at"] is not None) is (call["status"] in states.LIVE)
            status = "ringing"
            for step in call["history"][1:]:
                assert step["frm"] == status
                if step["act"] != "busy":
                    legal = states.STEPS[step["act"]]
                    assert step["frm"] in legal.frm
                    assert (step["to"], step["role"] in legal.roles) == (legal.to, True)
                status = step["to"]
            assert call["status"] == status

    @invariant()
    def what_devices_were_told_is_how_it_is(self):
        self.run(self.devices_agree)

    async def devices_agree(self):
        """State before + events received == state fetched."""
        calls = [call for call in await self.every_call() if call["_id"] not in self.calls_before]
        truth = {call["_id"]: views.shown(call) for call in calls}
        for device in [device for devices in self.devices.values() for device in devices if device.is_on]:
            await until(lambda device=device: device.agrees(truth))

    def teardown(self):
        if hasattr(self, "devices"):
            try:
                self.run(self.come_to_rest)
                self.run(self.look)
            finally:
                self.calling.ctx.bus.on_events = self.delivered
                self.run(self.leave)

    async def come_to_rest(self):
        for which in (0, 1):
            await self.deadline(which)
        await self.calling.house.rest()

    async def look(self):
        calls = [call for call in await self.every_call() if call["_id"] not in self.calls_before]
        for call in calls:
            assert (call["status"], call["owner"], call["duties"]) == ("ended", None, [])
            assert [step["to"] for step in call["history"]].count("ended") == 1
        for case in self.cases:
            own = {call["_id"]: call["reason"] for call in calls if call["visit_id"] == case.id}
            cards = (await self.calling.cards(case))[self.before[case.id] :]
            assert len(cards) == len(own)
            assert {card["call"]: card["reason"] for card in cards} == own
        for process in self.processes:
            if not process.is_over:
                await until(lambda process=process: not process.worker.rooms)
        for device in [device for devices in self.devices.values() for device in devices if not device.is_on]:
            device.is_on = True
            await self.catch_up(device)
        await self.devices_agree()

    async def leave(self):
        for process in self.processes:
            await process.stop()


@pytest.mark.feature("D5.2")
@pytest.mark.timeout(180)
def test_whatever_happens_no_call_is_stuck_each_ends_once_and_all_devices_agree(calling, io_loop):
    Telephony.calling = calling
    Telephony.cases = []
    Telephony.run = staticmethod(lambda work: io_loop.run_sync(work, timeout=30))
    bounds = settings(
        max_examples=16,
        stateful_step_count=16,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # what fails is told as it was found: making it shorter takes minutes
    )
    with patch.object(owners, "AGAIN_SECONDS", 0):
        run_state_machine_as_test(Telephony, settings=bounds)
