import pytest

from rtc import service, views
from rtc.schemas import CallDetail, CallView


@pytest.mark.gen_test
async def test_a_call_is_shown_as_the_protocol_says(calling, case):
    call = await calling.ringing(case)
    shown = views.shown(call)
    assert shown == {
        "id": call["_id"],
        "conversation": case.id,
        "media": "video",
        "state": "ringing",
        "version": 1,
        "reason": None,
        "started_at": None,
        "ended_at": None,
        "expires_at": shown["expires_at"],
        "members": [{"account": case.doctor.id, "leg": "none"}, {"account": case.patient.id, "leg": "none"}],
        "recording": False,
    }
    assert shown["expires_at"].endswith("Z")
    assert CallView().dump(shown) == shown


@pytest.mark.rule("R3-5")
@pytest.mark.gen_test
async def test_both_see_that_it_records_from_the_first_leg_until_the_end(calling, case, media):
    call = await calling.answered(case)
    seen = [views.shown(call)["recording"]]
    await calling.offer(case.doctor, call["_id"])
    seen.append(views.shown(await calling.stored(call["_id"]))["recording"])
    media.room(call["_id"]).connect("doctor")
    await media.followed()
    seen.append(views.shown(await calling.stored(call["_id"]))["recording"])
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="hangup")
    assert [*seen, views.shown(ended)["recording"]] == [False, False, True, False]


@pytest.mark.gen_test
async def test_the_detail_tells_steps_consents_quality_and_what_was_recorded(calling, case, media):
    call = await calling.active(case, media)
    media.room(call["_id"]).measure("doctor", loss=0.25)
    media.room(call["_id"]).events.recorder_failed("doctor", 1, "disk_full")
    await media.followed()
    await media.stop()
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="hangup")
    detail = CallDetail().dump(views.detail(await calling.stored(ended["_id"])))
    assert [step["act"] for step in detail["history"]] == ["invite", "accept", "connect", "drop", "hangup"]
    assert [(one["account"], one["version"]) for one in detail["consents"]] == [
        (case.doctor.id, "1"),
        (case.patient.id, "1"),
    ]
    doctor, patient = detail["quality"]
    assert (doctor["sent"]["loss"]["worst"], doctor["received"], patient["sent"]) == (0.25, None, None)
    assert {name: detail["recorded"][name] for name in ("state", "segments", "faults", "composed")} == {
        "state": "collecting",
        "segments": 0,
        "faults": 1,
        "composed": False,
    }


@pytest.mark.gen_test
async def test_the_card_tells_how_long_it_was_and_how_it_ended(calling, case, media):
    call = await calling.active(case, media)
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="hangup")
    seconds = round((ended["ended_at"] - ended["started_at"]).total_seconds())
    (card,) = await calling.cards(case)
    assert card == {
        "card": "call_record",
        "call": call["_id"],
        "media": "video",
        "reason": "hangup",
        "started_at": views.shown(ended)["started_at"],
        "ended_at": views.shown(ended)["ended_at"],
        "seconds": seconds,
    }


@pytest.mark.gen_test
async def test_a_call_that_nobody_answered_lasted_no_time(calling, case):
    call = await calling.ringing(case)
    ended = await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="decline")
    assert views.card(ended)["seconds"] == 0
