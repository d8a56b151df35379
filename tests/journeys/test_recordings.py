"""A call that is really recorded: into the file store, composed into one film, played by range with a reason.

Real peers send to a real room of a call process; what they sent is found again in what the doctor is shown.
"""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import av
import httpx
import pytest

from app import serving
from app.wiring import Media
from rtc import films
from rtc.recordings import Recordings
from rtc.room import open_rooms
from rtc.threads import Threads
from scripts.acting import Refused, until
from scripts.demo import DEMO_PASSWORDS
from tests.people import in_progress
from tests.rtc.peers import LOOPBACK, Peer


class Talk:
    """A doctor and a patient in a call, each with a peer."""

    def __init__(self, hospital, stage, folder: Path) -> None:
        self.hospital, self.stage, self.folder = hospital, stage, folder
        self.processes: list[serving.Process] = []
        self.peers: list[Peer] = []
        self.lines = {}
        self.call = ""

    async def begin(self) -> serving.Process:
        """A call process whose recordings lie in the one folder of this machine."""
        threads = Threads()
        recordings = Recordings(self.folder, threads)

        async def close() -> None:
            await asyncio.to_thread(threads.close)

        media = Media(open_rooms(recordings, addresses=LOOPBACK), close, recordings)
        settings = replace(self.hospital.settings, listen_port=0)
        self.processes.append(await serving.start(settings, "rtc", media_half=media))
        return self.processes[-1]

    async def stop(self) -> None:
        """The process that carries the call ends; what it recorded goes to the store by then."""
        await self.processes.pop(0).stop()

    async def invite(self) -> None:
        for name in ("doctor", "patient"):
            self.lines[name] = await getattr(self.stage, name).connect(name)
        visit = self.stage.found["visit"]["id"]
        text = await self.stage.patient.get("/consent-texts/call_recording")
        self.call = (await self.lines["doctor"].request("call.invite", conversation=visit, media="video"))["id"]
        await self.lines["patient"].request("call.accept", call=self.call, consent={"version": text["version"]})

    async def talk(self, generation: int) -> None:
        """Both offer, and hear and see each other for a while."""
        pair = [Peer(), Peer()]
        self.peers += pair
        for name, peer in zip(("doctor", "patient"), pair, strict=True):
            await peer.join(lambda sdp, name=name: self._answer(name, generation, sdp))
        await asyncio.gather(*(peer.gets(audio=60, video=20) for peer in pair))

    async def _answer(self, name: str, generation: int, sdp: str) -> str:
        answer = await self.lines[name].request("call.offer", call=self.call, generation=generation, sdp=sdp)
        return str(answer["sdp"])

    async def hang_up(self) -> None:
        await self.lines["doctor"].request("call.hangup", call=self.call)

    async def stored(self):
        return await self.hospital.ctx.calls.get(self.call)

    async def composed(self):
        """The call once its film is made."""

        async def is_made():
            await films.compose_due(self.hospital.ctx)
            film = (await self.stored())["film"]
            return film is not None and film["file"] is not None

        await until(is_made, seconds=40)
        return await self.stored()

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for line in self.lines.values():
            await line.close()
        for process in self.processes:
            await process.stop()
        await self.stage.close()


@pytest.fixture
def talk(hospital, io_loop, tmp_path):
    """An accepted visit, and a call process."""

    async def made() -> Talk:
        talk = Talk(hospital, await in_progress(hospital), tmp_path / "recordings")
        await talk.begin()
        await talk.invite()
        return talk

    made_talk = io_loop.run_sync(made, timeout=60)
    yield made_talk
    io_loop.run_sync(made_talk.close, timeout=60)


async def link_of(person, call, **asked):
    return (await person.post(f"/calls/{call}/recording/links", {"reason": "病情复核", **asked}))["url"]


async def refusal(work):
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


@pytest.mark.feature("D5.2")
@pytest.mark.feature("D5.8")
@pytest.mark.rule("R5-2")
@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=90)
async def test_what_was_said_is_stored_composed_and_shown_to_the_doctor_for_a_reason(hospital, talk):
    await talk.talk(1)
    doctor = talk.stage.doctor
    assert (await doctor.get(f"/calls/{talk.call}"))["recorded"]["state"] == "recording"
    await talk.hang_up()
    call = await talk.composed()
    assert list(talk.folder.iterdir()) == []
    shown = await doctor.get(f"/calls/{talk.call}/recording")
    assert (shown["state"], shown["film"]["complete"], shown["faults"]) == ("stored", True, [])
    assert {one["side"] for one in shown["segments"]} == {"doctor", "patient"}
    assert {one["what"] for one in shown["timeline"]} >= {"joined"}
    assert int(shown["retain_until"][:4]) >= hospital.ctx.clock.now().year + 3

    assert await refusal(link_of(doctor, talk.call)) == "elevation_required"
    await doctor.post("/auth/elevate", {"password": DEMO_PASSWORDS["doctor"]})
    assert await refusal(doctor.post(f"/calls/{talk.call}/recording/links", {"reason": " "})) == "invalid"
    assert await refusal(link_of(talk.stage.patient, talk.call)) == "forbidden"
    film = await hospital.ctx.files.read(call["film"]["file"])
    async with httpx.AsyncClient(base_url=hospital.url) as browser:
        url = await link_of(doctor, talk.call)
        first = await browser.get(url, headers={"Range": "bytes=0-99"})
        assert (first.status_code, first.content) == (206, film[:100])
        assert first.headers["Content-Range"] == f"bytes 0-99/{len(film)}"
        assert (first.headers["Content-Type"], first.headers["ETag"]) == ("video/mp4", f'"{shown["film"]["sha256"]}"')
        assert first.headers["Cache-Control"].startswith("private")
        assert first.headers["X-Content-Type-Options"] == "nosniff"
        rest = await browser.get(url, headers={"Range": "bytes=100-", "If-Range": first.headers["ETag"]})
        assert first.content + rest.content == film
        assert (await browser.get(url, headers={"If-None-Match": first.headers["ETag"]})).status_code == 304
        assert (await browser.get(url, headers={"Range": f"bytes={len(film)}-"})).status_code == 416
        segment = await browser.get(await link_of(doctor, talk.call, variant=shown["segments"][0]["variant"]))
        assert len(segment.content) == shown["segments"][0]["size"]
        assert segment.headers["Content-Type"] in ("video/webm", "video/x-matroska")
    with av.open(io.BytesIO(film)) as file:
        kinds = {stream.type for stream in file.streams}
        seconds = file.duration / av.time_base
    assert (kinds, 0.5 < seconds < 60) == ({"video", "audio"}, True)

    reads = (await talk.stored())["recording_reads"]
    assert [(one["actor"], one["reason"]) for one in reads] == [(doctor.account["id"], "病情复核")] * 2
    auditor = await hospital.person().login_by_password("yunauditor", DEMO_PASSWORDS["auditor"])
    told = (await auditor.get("/audit", subject=f"recording:{talk.call}", limit=100))["items"]
    acts = [(one["act"], one["actor"], one["role"]) for one in told]
    assert acts.count(("recording.link", doctor.account["id"], "doctor")) == 2
    assert acts.count(("recording.read", doctor.account["id"], "link")) >= 4
    assert ("recording.describe", doctor.account["id"], "doctor") in acts
    assert {one["reason"] for one in told} == {None}  # the words stay with the call


@pytest.mark.rule("R5-2")
@pytest.mark.gen_test(timeout=90)
async def test_a_call_that_a_second_process_took_over_has_one_recording(talk):
    await talk.talk(1)
    await talk.begin()
    await talk.stop()
    first = await talk.stored()
    assert [len(part["segments"]) > 0 for part in first["recordings"].values()] == [True]
    await talk.talk(2)
    await talk.hang_up()
    call = await talk.composed()
    parts = sorted(call["recordings"].values(), key=lambda part: part["opened_at"])
    assert [{one["generation"] for one in part["segments"]} for part in parts] == [{1}, {2}]
    count = sum(len(part["segments"]) for part in parts)
    assert (call["film"]["segments"], call["recording_faults"]) == (count, [])
    gap = (parts[1]["began_at"] - parts[0]["began_at"]).total_seconds()
    assert call["film"]["duration"] > gap  # on one time line
