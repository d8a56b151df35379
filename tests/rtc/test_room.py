"""Two browsers talk through a room, and it is recorded."""

import asyncio
import gc
import itertools
import os
import threading

import pytest

from core import tasks
from rtc import recorder as recorders
from rtc import room as rooms
from rtc.digests import digest
from rtc.media import OfferRefused
from rtc.room import Bounds
from tests.im.house import until
from tests.rtc.lossy import LossyLine
from tests.rtc.peers import without_candidates
from tests.rtc.rooms import hall
from tests.rtc.samples import times

pytestmark = pytest.mark.gen_test(timeout=60)


@pytest.mark.parametrize(("codec", "suffix"), [("vp8", "webm"), ("h264", "mkv")])
async def test_both_see_and_hear_each_other_and_are_recorded(tmp_path, codec, suffix):
    async with hall(tmp_path) as here:
        doctor, patient = await here.enter("doctor", codec=codec), await here.enter("patient", codec=codec)
        await here.heard.until("connected", "doctor", 1)
        await here.heard.until("connected", "patient", 1)
        await asyncio.gather(doctor.gets(audio=40, video=15), patient.gets(audio=40, video=15))
        manifest = await here.room.close()
        assert here.heard.named("failed", "recorder_failed", "silent") == []
    assert [one.what for one in manifest.timeline if one.what in ("joined", "left", "gap")] == [
        *["joined"] * 2,
        *["left"] * 2,
    ]
    assert {one.name for one in manifest.segments} == {f"doctor-1-1.{suffix}", f"patient-1-1.{suffix}"}
    [folder] = tmp_path.iterdir()
    for segment in manifest.segments:
        path = folder / segment.name
        assert segment.sha256 == digest(path).sha256
        assert len(times(path, "audio")) >= 40
        seen = times(path, "video")
        assert len(seen) >= 15
        assert max(after - before for before, after in itertools.pairwise(seen)) < 0.6


async def test_browsers_are_given_the_cheap_cipher(tmp_path):
    async with hall(tmp_path) as here:
        await here.enter("doctor")
        await here.heard.until("connected", "doctor")
        assert here.room._seats["doctor"].leg.wire.cipher == "SRTP_AEAD_AES_256_GCM"


async def test_a_call_of_sound_only(tmp_path):
    async with hall(tmp_path, media="audio") as here:
        doctor = await here.enter("doctor", kinds=("audio",))
        patient = await here.enter("patient", kinds=("audio",))
        await asyncio.gather(doctor.gets(audio=30), patient.gets(audio=30))
        with pytest.raises(OfferRefused, match="video_in_audio_call"):
            await here.room.offer("patient", 2, await here.peer().offer(), ())
        manifest = await here.room.close()
    [folder] = tmp_path.iterdir()
    assert [times(folder / one.name, "video") for one in manifest.segments] == [[], []]


async def test_somebody_without_a_camera_sees_and_is_heard(tmp_path):
    async with hall(tmp_path) as here:
        doctor, patient = await here.enter("doctor"), await here.enter("patient", kinds=("audio",))
        await asyncio.gather(doctor.gets(audio=20), patient.gets(audio=20))
        assert doctor.got["video"] == 0


async def test_losses_are_made_good_both_ways(tmp_path):
    async with hall(tmp_path) as here, LossyLine(0.03, seed=5) as line:
        doctor = here.peer()
        answer = await here.room.offer("doctor", 1, without_candidates(await doctor.offer()), ())
        await doctor.accept(line.through(answer))
        patient = await here.enter("patient")
        await asyncio.gather(doctor.gets(video=60, audio=100), patient.gets(video=60, audio=100))
        assert line.lost > 5
        leg = here.room._seats["doctor"].leg
        assert leg.forwarder.outgoing["video"].retransmitted > 0
        assert leg.forwarder.incoming["video"].expected == leg.forwarder.incoming["video"].received
        manifest = await here.room.close()
    [folder] = tmp_path.iterdir()
    for segment in manifest.segments:
        seen = times(folder / segment.name, "video")
        assert max(after - before for before, after in itertools.pairwise(seen)) < 0.6


async def test_a_new_generation_keeps_the_other_leg_and_the_recording_goes_on(tmp_path):
    async with hall(tmp_path) as here:
        await here.enter("doctor")
        patient = await here.enter("patient")
        await patient.gets(video=5, audio=10)
        await here.heard.until("connected", "doctor", 1)
        again = await here.enter("doctor", 2)
        await here.heard.until("connected", "doctor", 2)
        await asyncio.gather(patient.gets(video=10, audio=10), again.gets(video=5, audio=10))
        assert patient.connection.connectionState == "connected"
        with pytest.raises(OfferRefused, match="generation"):
            await here.room.offer("doctor", 1, await here.peer().offer(), ())
        manifest = await here.room.close()
        assert here.heard.named("failed") == []
    assert {one.name for one in manifest.segments} == {"doctor-1-1.webm", "doctor-2-1.webm", "patient-1-1.webm"}
    [first, second] = [one for one in manifest.segments if one.side == "doctor"]
    assert second.offset >= first.offset + first.duration - 0.2
    moments = [one for one in manifest.timeline if one.side == "doctor" and one.what in ("joined", "left")]
    assert [(one.what, one.generation) for one in moments] == [("joined", 1), ("left", 1), ("joined", 2), ("left", 2)]


async def test_a_repeated_offer_gets_its_answer_again(tmp_path):
    async with hall(tmp_path) as here:
        peer = here.peer()
        sdp = await peer.offer()
        answers = await asyncio.gather(*(here.room.offer("doctor", 1, sdp, ()) for _ in range(3)))
        assert len(set(answers)) == 1
        with pytest.raises(OfferRefused, match="generation"):
            await here.room.offer("doctor", 1, sdp.replace("a=setup", "a=x\r\na=setup"), ())


async def test_a_refused_offer_leaves_the_leg_as_it_was(tmp_path):
    async with hall(tmp_path) as here:
        doctor, patient = await here.enter("doctor"), await here.enter("patient")
        await here.heard.until("connected", "doctor", 1)
        with pytest.raises(OfferRefused, match="malformed"):
            await here.room.offer("doctor", 2, "v=1", ())
        await asyncio.gather(doctor.gets(audio=10), patient.gets(audio=10))


async def test_silence_is_told_step_by_step_and_ends_when_media_comes_again(tmp_path):
    bounds = Bounds(warning=0.3, reconnecting=0.6, lost=0.9, tick=0.05)
    async with hall(tmp_path, bounds=bounds) as here, LossyLine() as line:
        doctor = here.peer()
        await doctor.accept(
            line.through(await here.room.offer("doctor", 1, without_candidates(await doctor.offer()), ()))
        )
        await here.heard.until("connected", "doctor", 1)
        line.is_cut = True
        await here.heard.until("silent", "doctor", 1, "lost")
        line.is_cut = False
        await here.heard.until("heard", "doctor", 1)
        manifest = await here.room.close()
        told = [event[-1] if event[0] == "silent" else event[0] for event in here.heard.named("silent", "heard")]
        assert told[:4] == ["warning", "reconnecting", "lost", "heard"]
    [gap] = [one for one in manifest.timeline if one.what == "gap"][:1]
    assert gap.seconds >= 0.9


async def test_who_never_comes_is_given_up_and_may_offer_again(tmp_path):
    async with hall(tmp_path, bounds=Bounds(set_up=0.3, tick=0.05)) as here:
        ghost = here.peer()
        sdp = await ghost.offer()
        await here.room.offer("doctor", 1, sdp, ())
        assert await here.heard.until("failed", "doctor", 1) == ("failed", "doctor", 1, "set_up_timeout")
        with pytest.raises(OfferRefused, match="generation"):
            await here.room.offer("doctor", 1, sdp, ())
    async with hall(tmp_path / "2") as here:
        peer = here.peer()
        wrong = (await peer.offer()).replace("sha-256 ", "sha-256 00:", 1)
        wrong = "\r\n".join(
            line[:-3] if line.startswith("a=fingerprint:sha-256 00") else line for line in wrong.split("\r\n")
        )
        await peer.accept(await here.room.offer("doctor", 1, wrong, ()))
        assert await here.heard.until("failed", "doctor", 1) == ("failed", "doctor", 1, "connection_failed")
        await here.enter("doctor", 2)
        await here.heard.until("connected", "doctor", 2)


async def test_who_hangs_up_is_noticed(tmp_path):
    async with hall(tmp_path) as here:
        doctor = await here.enter("doctor")
        await here.heard.until("connected", "doctor", 1)
        await doctor.close()
        assert await here.heard.until("failed", "doctor", 1) == ("failed", "doctor", 1, "connection_closed")


async def test_a_microphone_and_a_camera_that_are_off_are_on_the_time_line(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "MUTED_SECONDS", 0.3)
    async with hall(tmp_path, bounds=Bounds(tick=0.05)) as here:
        doctor, patient = await here.enter("doctor"), await here.enter("patient")
        await patient.gets(video=5, audio=5)
        for kind in ("audio", "video"):
            doctor.clips[kind].is_off = True
            await until(lambda kind=kind: kind in here.room._seats["doctor"].absent)
            doctor.clips[kind].is_off = False
            await until(lambda kind=kind: kind not in here.room._seats["doctor"].absent)
        await patient.gets(video=5, audio=5)
        manifest = await here.room.close()
    what = [one.what for one in manifest.timeline if one.side == "doctor"]
    for off, on in (("muted", "unmuted"), ("camera_off", "camera_on")):
        assert 1 <= what.index(off) < what.index(on)


async def test_quality_is_told_of_every_connected_leg(tmp_path):
    async with hall(tmp_path, bounds=Bounds(quality=0.5, tick=0.1)) as here:
        await here.enter("doctor")
        await here.enter("patient")
        await here.heard.until("quality", "doctor", 1)
        quality = (await here.heard.until("quality", "patient", 1))[-1]
    assert quality.loss == 0.0
    assert 0 <= quality.jitter < 1
    assert quality.bitrate > 10_000


async def test_nobody_is_connected_before_the_recorder_is_armed(tmp_path, monkeypatch):
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.05)
    create = recorders._create

    def refuse(path):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(recorders, "_create", refuse)
    async with hall(tmp_path) as here:
        await here.enter("doctor")
        await until(lambda: "doctor" in here.room._seats and here.room._seats["doctor"].has_begun)
        failure = await here.heard.until("recorder_failed", "doctor", 1)
        assert failure[-1] == "no_space_left_on_device"
        assert here.heard.named("connected") == []
        monkeypatch.setattr(recorders, "_create", create)
        await here.heard.until("connected", "doctor", 1)


async def test_who_has_another_codec_makes_the_first_offer_again(tmp_path):
    async with hall(tmp_path) as here:
        first = await here.enter("doctor", codec="vp8")
        await here.heard.until("connected", "doctor", 1)
        second = await here.enter("patient", codec="h264")
        assert await here.heard.until("failed", "doctor", 1) == ("failed", "doctor", 1, "codec")
        again = await here.enter("doctor", 2, codec="h264")
        await asyncio.gather(again.gets(video=5), second.gets(video=5))
        assert first.got["video"] == 0


async def test_candidates_that_come_later_lead_to_a_connection(tmp_path):
    async with hall(tmp_path) as here:
        peer = here.peer()
        sdp = await peer.offer()
        line = next(line for line in sdp.split("\r\n") if line.startswith("a=candidate:"))
        bare = without_candidates(sdp).replace("a=end-of-candidates\r\n", "")
        await peer.accept(without_candidates(await here.room.offer("doctor", 1, bare, ())))
        given = [{"candidate": line.removeprefix("a="), "sdpMid": "0"}]
        await here.room.candidates("doctor", 7, given)
        assert here.room._seats["doctor"].leg._late_candidates == 0
        await here.room.candidates("doctor", 1, given * 100)
        assert here.room._seats["doctor"].leg._late_candidates == 40
        with pytest.raises(OfferRefused, match="candidate"):
            await here.room.candidates("doctor", 1, [{"candidate": "x"}])
        await here.heard.until("connected", "doctor", 1)


async def test_a_failure_in_a_tick_ends_neither_the_call_nor_its_recording(tmp_path):
    async with hall(tmp_path, bounds=Bounds(tick=0.05)) as here:
        doctor, patient = await here.enter("doctor"), await here.enter("patient")
        await asyncio.gather(doctor.gets(audio=5), patient.gets(audio=5))
        seat, failures = here.room._seats["doctor"], []
        seat.leg.forwarder.report = lambda now: failures.append(1 // 0)
        seat.reported_at = 0.0
        await doctor.gets(audio=20)
        del seat.leg.forwarder.report
        await patient.gets(audio=20)
        manifest = await here.room.close()
    assert {one.side for one in manifest.segments} == {"doctor", "patient"}


async def test_a_closed_room_takes_nobody(tmp_path):
    async with hall(tmp_path) as here:
        first, second = await asyncio.gather(here.room.close(), here.room.close())
        assert first == second
        assert first.segments == ()
        with pytest.raises(OfferRefused, match="closed"):
            await here.room.offer("doctor", 1, await here.peer().offer(), ())


def _left():
    """Tasks, threads and the number of descriptors."""
    gc.collect()
    return (
        set(tasks.running()),
        {thread.name for thread in threading.enumerate()},
        len(os.listdir("/proc/self/fd")),
    )


async def test_twenty_calls_leave_nothing_behind(tmp_path):
    async def call(number):
        kinds = ("audio", "video") if number % 4 == 0 else ("audio",)
        async with hall(tmp_path, call=f"call{number}") as here:
            doctor, patient = await here.enter("doctor", kinds=kinds), await here.enter("patient", kinds=kinds)
            await asyncio.gather(doctor.gets(audio=2), patient.gets(audio=2))
            assert here.room._seats["doctor"].leg is not None
            await here.room.close()

    await call(0)
    await until(lambda: not [one for one in tasks.running() if one.startswith(("rtc", "peer"))])
    gc.collect()
    legs = sum(type(one).__name__ == "Leg" for one in gc.get_objects())
    before, alive = _left(), len(asyncio.all_tasks())
    for number in range(1, 21, 4):
        await asyncio.gather(*(call(number + place) for place in range(4)))
    await until(lambda: len(asyncio.all_tasks()) <= alive)
    running, names, descriptors = _left()
    assert running <= before[0]
    assert names <= before[1]
    assert descriptors <= before[2]
    assert sum(type(one).__name__ == "Leg" for one in gc.get_objects()) <= legs
