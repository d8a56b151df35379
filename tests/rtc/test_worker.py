import asyncio

import pytest

from core import tasks
from core.errors import ServiceUnavailable
from rtc import legs, routing, service
from storage.redis import BUS_AWAY
from tests.rtc.calling import SDP, until
from tests.rtc.standing_in import answer_to


async def state(calling, call):
    stored = await calling.stored(call["_id"])
    return stored["status"], {side: leg["state"] for side, leg in stored["legs"].items()}


# --- legs -----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_call_is_active_once_both_legs_are_connected_and_not_before(calling, case, media):
    call = await calling.answered(case)
    room = None
    for who, side in ((case.doctor, "doctor"), (case.patient, "patient")):
        assert (await calling.offer(who, call["_id"]))["sdp"] == answer_to(SDP)
        room = media.room(call["_id"])
        assert (await calling.stored(call["_id"]))["status"] == "connecting"
        room.connect(side)
        await media.followed()
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"]) == ("active", media.ctx.process)
    assert stored["started_at"] >= stored["recording_since"] >= stored["created_at"]
    longest = calling.ctx.policy.call_longest_seconds
    assert (stored["deadline_at"] - stored["started_at"]).total_seconds() == longest
    assert room.offers == [("doctor", 1, SDP), ("patient", 1, SDP)]


@pytest.mark.gen_test
async def test_silence_is_told_then_reconnecting_and_media_resumes(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    room.fall_silent("patient", "warning")
    await media.followed()
    assert await state(calling, call) == ("active", {"doctor": "connected", "patient": "connected"})
    room.fall_silent("patient", "reconnecting")
    await media.followed()
    assert await state(calling, call) == ("reconnecting", {"doctor": "connected", "patient": "lost"})
    room.hear("patient")
    await media.followed()
    assert await state(calling, call) == ("active", {"doctor": "connected", "patient": "connected"})


@pytest.mark.gen_test
async def test_a_leg_that_stays_silent_ends_the_call_as_lost(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    room.fall_silent("doctor", "reconnecting")
    room.fall_silent("doctor", "lost")
    await asyncio.wait_for(room.closed.wait(), 8)
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["reason"], stored["history"][-1]["reason"]) == ("ended", "lost", "silent")
    await until(lambda: calling.cards(case))
    assert [card["reason"] for card in await calling.cards(case)] == ["lost"]


@pytest.mark.gen_test
async def test_a_higher_generation_replaces_a_leg_and_the_old_ones_word_counts_no_more(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    await calling.offer(case.patient, call["_id"], generation=2)
    assert await state(calling, call) == ("reconnecting", {"doctor": "connected", "patient": "connecting"})
    room.events.connected("patient", 1)
    room.events.silent("patient", 1, "lost")
    await media.followed()
    assert await state(calling, call) == ("reconnecting", {"doctor": "connected", "patient": "connecting"})
    room.connect("patient")
    await media.followed()
    assert await state(calling, call) == ("active", {"doctor": "connected", "patient": "connected"})


@pytest.mark.gen_test
async def test_an_offer_that_comes_again_leaves_the_leg_connected(calling, case, media):
    call = await calling.active(case, media)
    assert (await calling.offer(case.patient, call["_id"]))["sdp"] == answer_to(SDP)
    assert await calling.stored(call["_id"]) == call


@pytest.mark.gen_test
async def test_a_leg_that_breaks_may_be_offered_again(calling, case, media):
    call = await calling.answered(case)
    await calling.offer(case.doctor, call["_id"])
    room = media.room(call["_id"])
    room.fail("doctor")
    await media.followed()
    assert await state(calling, call) == ("connecting", {"doctor": "lost", "patient": "none"})
    await calling.offer(case.doctor, call["_id"], generation=2)
    room.connect("doctor")
    await media.followed()
    assert await state(calling, call) == ("connecting", {"doctor": "connected", "patient": "none"})


# --- rooms ----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_both_offers_at_once_meet_in_one_room(calling, case, media):
    call = await calling.answered(case)
    await asyncio.gather(*(calling.offer(who, call["_id"]) for who in (case.doctor, case.patient)))
    assert sorted(side for side, _, _ in media.room(call["_id"]).offers) == ["doctor", "patient"]
    assert list(media.worker.rooms) == [call["_id"]]


@pytest.mark.gen_test
async def test_the_end_of_a_call_closes_its_room_and_its_recording_is_called_for(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    closed = []
    media.worker.on_closed = lambda: closed.append(room.closed.is_set())
    room.measure("doctor", loss=0.1)
    await media.followed()
    await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="hangup")
    await asyncio.wait_for(room.closed.wait(), 8)

    await until(lambda: closed)
    stored = await calling.stored(call["_id"])
    assert (stored["owner"], closed) == (None, [True])
    assert {id_: part["process"] for id_, part in stored["recordings"].items()} == {room.id: media.ctx.process}

    async def has_quality():
        return (await calling.stored(call["_id"]))["quality"].get("doctor", {}).get("loss", {}).get("worst") == 0.1

    await until(has_quality)


@pytest.mark.gen_test
async def test_a_call_that_cannot_be_recorded_is_not_carried(calling, case, media):
    call = await calling.answered(case)
    media.rooms.fault = OSError("no space left")
    with pytest.raises(ServiceUnavailable) as refused:
        await calling.offer(case.doctor, call["_id"])
    assert refused.value.code == "unavailable"
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"], media.worker.rooms) == ("connecting", None, {})
    media.rooms.fault = None
    await calling.offer(case.doctor, call["_id"], generation=2)
    assert (await calling.stored(call["_id"]))["owner"] == media.ctx.process


@pytest.mark.gen_test
async def test_a_recorder_that_breaks_is_an_alarm_and_a_mark_and_the_call_goes_on(calling, case, media):
    call = await calling.active(case, media)
    media.room(call["_id"]).events.recorder_failed("patient", 1, "disk_full")
    await media.followed()
    stored = await calling.stored(call["_id"])
    assert stored["status"] == "active"
    assert [(one["side"], one["reason"]) for one in stored["recorder_faults"]] == [("patient", "disk_full")]


@pytest.mark.gen_test
async def test_what_a_room_tells_while_the_store_is_away_is_told_again(calling, case, media, monkeypatch):
    call = await calling.answered(case)
    await calling.offer(case.doctor, call["_id"])
    real, tries = legs.changed, []

    async def away_at_first(*given, **named):
        tries.append(named["state"])
        if len(tries) < 3:
            raise BUS_AWAY[0]("away")
        return await real(*given, **named)

    monkeypatch.setattr(legs, "changed", away_at_first)
    monkeypatch.setattr("rtc.worker.AGAIN_SECONDS", 0.01)
    media.room(call["_id"]).connect("doctor")
    await media.followed()
    assert tries == ["connected"] * 3
    assert (await state(calling, call))[1]["doctor"] == "connected"


@pytest.mark.gen_test
async def test_quality_is_summed_up_here_and_not_written_each_time(calling, case, media, monkeypatch):
    call = await calling.active(case, media)
    written = []
    keep = calling.ctx.calls.keep_quality

    async def counted(id_, sums):
        written.append(id_)
        await keep(id_, sums)

    monkeypatch.setattr(calling.ctx.calls, "keep_quality", counted)
    for loss in (0.0, 0.2, 0.1):
        media.room(call["_id"]).measure("patient", loss=loss)
    figures = {"loss": None, "jitter": 0.02, "round_trip": None, "bitrate": 300_000}
    await routing.stats(calling.ctx, calling.session(case.doctor), call_id=call["_id"], figures=figures)
    await media.followed()
    assert written == []
    await media.stop()
    assert written == [call["_id"]]
    quality = (await calling.stored(call["_id"]))["quality"]
    assert quality["patient"]["loss"] == {"samples": 3, "mean": pytest.approx(0.1), "worst": 0.2}
    assert quality["doctor_received"]["bitrate"] == {"samples": 1, "mean": 300_000, "worst": 300_000}
    assert quality["doctor_received"]["loss"]["samples"] == 0


# --- taking over ----------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_stop_finishes_the_recording_and_the_call_goes_on_elsewhere(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    await media.stop()
    assert room.closed.is_set()
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"], len(stored["recordings"])) == ("reconnecting", None, 1)
    other = await calling.process()
    for who, side in ((case.doctor, "doctor"), (case.patient, "patient")):
        await calling.offer(who, call["_id"], generation=2)
        other.room(call["_id"]).connect(side)
    await other.followed()
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"]) == ("active", other.ctx.process)
    assert stored["started_at"] == call["started_at"]


@pytest.mark.gen_test
async def test_a_killed_processs_call_is_taken_over_at_the_next_offer(calling, case, media):
    call = await calling.active(case, media)
    other = await calling.process()
    await media.kill()
    await calling.offer(case.patient, call["_id"], generation=2)
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"]) == ("reconnecting", other.ctx.process)
    assert {side: leg["state"] for side, leg in stored["legs"].items()} == {"doctor": "lost", "patient": "connecting"}


@pytest.mark.gen_test
async def test_of_two_processes_that_are_asked_at_once_one_takes_the_call(calling, case, media):
    other = await calling.process()
    call = await calling.answered(case)
    taken = await asyncio.gather(*(one.worker._take(call["_id"], None) for one in (media, other)))
    assert sorted(one is None for one in taken) == [False, True]
    assert len(media.worker.rooms) + len(other.worker.rooms) == 1


@pytest.mark.gen_test
async def test_a_process_that_was_given_up_for_lost_finds_itself_disowned(calling, case, media):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    await legs.release(calling.ctx, call["_id"], owner=media.ctx.process)
    room.hear("patient")
    await asyncio.wait_for(room.closed.wait(), 8)
    assert (await calling.stored(call["_id"]))["status"] == "reconnecting"
    await until(lambda: not media.worker.rooms)
    await calling.offer(case.patient, call["_id"], generation=2)
    await media.stop()
    assert len((await calling.stored(call["_id"]))["recordings"]) == 2  # one after the other


@pytest.mark.gen_test
async def test_a_room_whose_call_ended_unheard_is_closed_at_the_next_look(calling, case, media, monkeypatch):
    call = await calling.active(case, media)
    room = media.room(call["_id"])
    unheard = asyncio.Event()
    monkeypatch.setattr(media.worker, "let_go", lambda id_: unheard.set())
    await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="hangup")
    await asyncio.wait_for(unheard.wait(), 8)
    monkeypatch.undo()
    assert not room.closed.is_set()
    await media.worker.check()
    await asyncio.wait_for(room.closed.wait(), 8)


@pytest.mark.gen_test
async def test_nothing_is_left_of_a_call_that_has_ended(calling, case, media):
    before = [name for name in tasks.running() if name.startswith("rtc.telling")]
    for _ in range(5):
        call = await calling.active(case, media)
        await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="hangup")
    await until(lambda: not media.worker.rooms)
    await until(lambda: [name for name in tasks.running() if name.startswith("rtc.telling")] == before)
    assert media.worker._taking == {}
