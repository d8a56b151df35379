"""Calls over real sockets: a patient and a doctor with two devices each, and a call process beside the hospital.

The rooms carry no media here; what theirs would tell is told by the test.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app import serving
from rtc import owners
from scripts.acting import Line, NotAsPromised, Person, Refused, until
from scripts.story import Stage
from tests.people import in_progress
from tests.rtc.standing_in import Rooms, answer_to

SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n"


@dataclass
class Talk:
    """An accepted visit, two devices each, and the rooms of the call process."""

    stage: Stage
    rooms: Rooms
    lines: dict[str, Line] = field(default_factory=dict)
    consent: dict[str, str] = field(default_factory=dict)

    @property
    def visit(self) -> str:
        return str(self.stage.found["visit"]["id"])

    def __getattr__(self, name: str) -> Line:
        return self.lines[name]

    async def ring(self, **how: Any) -> dict[str, Any]:
        """The doctor invites; every device hears it."""
        call = await self.doctor.request("call.invite", conversation=self.visit, media="video", **how)
        for line in self.lines.values():
            assert await line.next_event("call.ringing", id=call["id"]) == call
        return dict(call)

    async def answer(self) -> dict[str, Any]:
        """The patient answers on the phone."""
        call = await self.ring()
        return dict(await self.phone.request("call.accept", call=call["id"], consent=self.consent))

    async def talk(self) -> dict[str, Any]:
        """Both have media."""
        call = await self.answer()
        for line, side in ((self.doctor, "doctor"), (self.phone, "patient")):
            await line.request("call.offer", call=call["id"], generation=1, sdp=SDP)
            self.rooms.opened[call["id"]].connect(side)
        return await self.doctor.next_event("call.state", id=call["id"], state="active")

    async def close(self) -> None:
        for line in self.lines.values():
            await line.close()
        await self.stage.close()


@pytest.fixture
def begin(hospital, io_loop):
    """Starts call processes of the hospital; those that still run are stopped."""
    begun = []

    async def start(rooms: Rooms) -> serving.Process:
        begun.append(await serving.start(replace(hospital.settings, listen_port=0), "rtc", media_half=rooms.media()))
        return begun[-1]

    yield start

    async def stop():
        for process in begun:
            await process.stop()

    io_loop.run_sync(stop, timeout=60)


@pytest.fixture
def talk(hospital, begin, io_loop):
    """Two people, each with two devices on the line."""

    async def made() -> Talk:
        rooms = Rooms()
        await begin(rooms)
        talk = Talk(await in_progress(hospital), rooms)
        text = await talk.stage.patient.get("/consent-texts/call_recording")
        talk.consent = {"version": text["version"]}
        for name, who in (("doctor", "doctor"), ("desk", "doctor"), ("phone", "patient"), ("tablet", "patient")):
            talk.lines[name] = await getattr(talk.stage, who).connect(name)
        return talk

    talk = io_loop.run_sync(made, timeout=60)
    yield talk
    io_loop.run_sync(talk.close)


@pytest.mark.feature("P1.9")
@pytest.mark.feature("D5.2")
@pytest.mark.rule("R3-5")
@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_calls_they_talk_hang_up_and_the_chat_keeps_it(talk):
    call = await talk.ring()
    assert (call["state"], call["recording"]) == ("ringing", False)
    answered = await talk.phone.request("call.accept", call=call["id"], consent=talk.consent)
    assert answered["state"] == "connecting"
    with pytest.raises(Refused) as refused:
        await talk.tablet.request("call.accept", call=call["id"], consent=talk.consent)
    assert refused.value.code == "answered_elsewhere"
    for line, side in ((talk.doctor, "doctor"), (talk.phone, "patient")):
        answer = await line.request("call.offer", call=call["id"], generation=1, sdp=SDP)
        assert answer == {"generation": 1, "sdp": answer_to(SDP), "ice_servers": []}
        candidates = [{"candidate": "candidate:1 1 udp 1 10.0.0.1 5000 typ host", "sdpMid": "0"}]
        await line.request("call.candidates", call=call["id"], generation=1, candidates=candidates)
        talk.rooms.opened[call["id"]].connect(side)
    active = [await line.next_event("call.state", id=call["id"], state="active") for line in talk.lines.values()]
    assert all(one == active[0] for one in active)
    assert (active[0]["recording"], [member["leg"] for member in active[0]["members"]]) == (True, ["connected"] * 2)
    talk.rooms.opened[call["id"]].measure("patient", loss=0.02)
    told = await talk.doctor.next_event("call.quality", call=call["id"])
    assert (told["account"], told["loss"], told["silent"]) == (talk.stage.patient.account["id"], 0.02, False)
    await talk.phone.request("call.stats", call=call["id"], loss=0.01, bitrate=400_000)
    ended = await talk.phone.request("call.hangup", call=call["id"])
    assert (ended["state"], ended["reason"], ended["recording"]) == ("ended", "hangup", False)
    for line in talk.lines.values():
        assert await line.next_event("call.state", id=call["id"], state="ended") == ended
    card = await talk.desk.next_event("message.created", kind="card")
    assert (card["body"]["card"], card["body"]["call"], card["body"]["reason"]) == ("call_record", call["id"], "hangup")
    await asyncio.wait_for(talk.rooms.opened[call["id"]].closed.wait(), 8)
    listed = await talk.stage.patient.get(f"/visits/{talk.visit}/calls")
    assert listed["items"] == [ended]
    detail = await talk.stage.doctor.get(f"/calls/{call['id']}")
    assert [one["kind"] for one in detail["consents"]] == ["call_recording"] * 2


@pytest.mark.gen_test(timeout=60)
async def test_a_call_that_is_declined_or_cancelled_stops_ringing_everywhere(talk):
    for line, op, reason in ((talk.tablet, "call.decline", "declined"), (talk.desk, "call.cancel", "cancelled")):
        call = await talk.ring()
        await line.request(op, call=call["id"])
        for other in talk.lines.values():
            assert (await other.next_event("call.state", id=call["id"], state="ended"))["reason"] == reason


@pytest.mark.gen_test(timeout=60)
async def test_who_was_away_finds_the_call_by_sync_and_its_truth_by_asking(hospital, talk):
    call = await talk.answer()
    await talk.lines.pop("phone").close()
    phone = talk.lines["phone"] = await talk.stage.patient.connect("phone")
    page = await phone.request("sync", cursors=None)
    (conversation,) = [one for one in page["conversations"] if one["id"] == talk.visit]
    assert conversation["call"] == await phone.request("call.state", call=call["id"])
    assert conversation["call"]["state"] == "connecting"
    await talk.doctor.request("call.hangup", call=call["id"])
    page = await phone.request("sync", cursors=None)
    assert [one["call"] for one in page["conversations"] if one["id"] == talk.visit] == [None]
    assert (await phone.request("call.state", call=call["id"]))["reason"] == "hangup"


@pytest.mark.gen_test(timeout=60)
async def test_a_call_goes_on_in_another_process_when_its_own_ends(talk, begin, monkeypatch):
    call = await talk.talk()
    first = talk.rooms.opened[call["id"]]
    rooms = Rooms()
    other = await begin(rooms)
    await other.hospital.ctx.heartbeats.beat(other.hospital.ctx.process, 0)
    monkeypatch.setattr(owners, "AGAIN_SECONDS", 0)

    async def is_given_up():
        """As when it stands still for three seconds; it beats on, so that one look may come too late."""
        owner = (await other.ctx.calls.get(call["id"]))["owner"]
        if owner is not None:
            await other.ctx.heartbeats.leave(owner)
            await owners.release_lost(other.ctx)
        return owner is None

    await until(is_given_up)
    told = await talk.phone.next_event("call.state", id=call["id"], state="reconnecting")
    assert [member["leg"] for member in told["members"]] == ["lost", "lost"]
    for line, side in ((talk.doctor, "doctor"), (talk.phone, "patient")):
        await line.request("call.offer", call=call["id"], generation=2, sdp=SDP)
        room = rooms.opened.get(call["id"]) or first
        room.connect(side)
    active = await talk.phone.next_event("call.state", id=call["id"], state="active")
    assert active["started_at"] == call["started_at"]
    await talk.doctor.request("call.hangup", call=call["id"])


@pytest.mark.gen_test(timeout=60)
async def test_the_end_of_the_visit_cuts_the_call_off(talk):
    call = await talk.talk()
    await talk.stage.doctor.post(f"/visits/{talk.visit}/complete")
    told = await talk.phone.next_event("call.state", id=call["id"], state="ended")
    assert told["reason"] == "visit_ended"
    with pytest.raises(Refused) as refused:
        await talk.doctor.request("call.invite", conversation=talk.visit, media="audio")
    assert refused.value.code == "wrong_state"


@pytest.mark.feature("P1.9")
@pytest.mark.gen_test(timeout=60)
async def test_a_ticket_carries_the_patient_into_the_call_without_a_login_and_dies_with_it(hospital, talk):
    call = await talk.ring()
    ticket = (await talk.stage.patient.post("/auth/tickets", {"purpose": "call", "call": call["id"]}))["ticket"]
    page = Person(hospital.http, hospital.url)
    page.token = (await page.post("/auth/tickets/redeem", {"ticket": ticket}))["access_token"]
    line = await page.connect("page")
    assert (await line.request("call.state", call=call["id"]))["state"] == "ringing"
    await line.request("call.accept", call=call["id"], consent=talk.consent)
    await line.request("call.offer", call=call["id"], generation=1, sdp=SDP)
    for op, args in (
        ("message.send", {"conversation": talk.visit, "kind": "text", "body": {"text": "x"}}),
        ("sync", {"cursors": None}),
    ):
        with pytest.raises(Refused) as refused:
            await line.request(op, **args)
        assert refused.value.code == "forbidden"
    with pytest.raises(Refused) as refused:
        await page.get(f"/visits/{talk.visit}")
    assert refused.value.code == "forbidden"
    await line.request("call.hangup", call=call["id"])
    await line.next_event("call.state", id=call["id"], state="ended")
    assert "message.created" not in [event["ev"] for event in line.events]
    await asyncio.wait_for(line.closed.wait(), 8)
    assert line.close_code == 4001
    await line.close()
    with pytest.raises((Refused, NotAsPromised)):
        await page.connect("page")


@pytest.mark.gen_test(timeout=60)
async def test_descriptions_that_are_none_or_too_long_are_refused_by_documented_codes(talk):
    call = await talk.answer()
    for sdp, code in (("nonsense", "invalid"), ("v=0" + "x" * 40_000, "too_large"), ("", "invalid")):
        with pytest.raises(Refused) as refused:
            await talk.doctor.request("call.offer", call=call["id"], generation=1, sdp=sdp)
        assert refused.value.code == code
    await talk.doctor.request("call.offer", call=call["id"], generation=1, sdp=SDP)
    await talk.doctor.request("call.hangup", call=call["id"])
