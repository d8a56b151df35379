import asyncio

import pytest

from core.auth import Caller
from core.errors import Conflict, Invalid, NotFound, WrongState
from rtc import service
from tests.rtc.calling import CONSENT


@pytest.fixture
def doctor(calling, case):
    return calling.session(case.doctor)


@pytest.fixture
def patient(calling, case):
    return calling.session(case.patient)


async def calls_of(calling, case):
    return await calling.ctx.calls.page(case.id, before=None, limit=100)


# --- invite ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_doctor_rings_the_patient_of_a_visit_in_progress(calling, case, doctor):
    call = await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="audio")
    assert (call["status"], call["media"], call["version"], call["reason"]) == ("ringing", "audio", 1, None)
    assert (call["doctor_id"], call["patient_account"]) == (case.doctor.id, case.patient.id)
    assert (call["deadline_at"] - call["created_at"]).total_seconds() == 45


@pytest.mark.gen_test
async def test_the_same_request_of_a_device_is_the_same_call_even_after_its_end(calling, case, doctor, patient):
    first, again = await asyncio.gather(
        *(service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video") for _ in range(2))
    )
    await service.end(calling.ctx, patient, call_id=first["_id"], act="decline")
    later = await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video")
    assert first["_id"] == again["_id"] == later["_id"]
    assert later["status"] == "ended"
    assert len(await calls_of(calling, case)) == 1


@pytest.mark.gen_test
async def test_the_same_request_with_another_content_is_a_conflict(calling, case, doctor):
    await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video")
    with pytest.raises(Conflict) as refused:
        await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="audio")
    assert refused.value.code == "idempotency_conflict"


@pytest.mark.gen_test
async def test_another_doctors_visit_is_not_found_and_nothing_rings(calling, case):
    other = calling.session(await calling.doctor())
    for conversation in (case.id, "01J0000000000000000000000A"):
        with pytest.raises(NotFound):
            await service.invite(calling.ctx, other, "r1", conversation=conversation, media="video")
    assert await calls_of(calling, case) == []


@pytest.mark.gen_test
async def test_only_a_visit_in_progress_can_be_called(calling, case, doctor):
    await case.act(case.doctor, "complete")
    with pytest.raises(WrongState):
        await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video")
    assert await calls_of(calling, case) == []


@pytest.mark.rule("R3-5")
@pytest.mark.gen_test
async def test_without_a_published_text_on_recording_nobody_is_called(calling, case, doctor, monkeypatch):
    monkeypatch.setattr(service, "RECORDING", "not_published")
    with pytest.raises(WrongState):
        await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video")
    assert await calls_of(calling, case) == []


@pytest.mark.gen_test
async def test_a_patient_in_another_call_is_busy_and_the_call_ended_with_its_card(calling, case):
    live = await calling.ringing(case)
    other = await calling.another_visit(case)
    busy = await calling.ringing(other)
    assert (busy["status"], busy["reason"], busy["deadline_at"]) == ("ended", "busy", None)
    assert (await calling.stored(live["_id"]))["status"] == "ringing"
    assert [card["reason"] for card in await calling.cards(other)] == ["busy"]


@pytest.mark.gen_test
async def test_busy_ends_with_the_call_that_made_it(calling, case, patient):
    live = await calling.ringing(case)
    other = await calling.another_visit(case)
    await service.end(calling.ctx, patient, call_id=live["_id"], act="decline")
    assert (await calling.ringing(other))["status"] == "ringing"


@pytest.mark.gen_test
async def test_a_call_whose_time_is_over_makes_nobody_busy_though_no_worker_has_swept_it(calling, case):
    live = await calling.ringing(case)
    await calling.ctx.store.db["calls"].update_one({"_id": live["_id"]}, {"$set": {"deadline_at": live["created_at"]}})
    other = await calling.another_visit(case)
    assert (await calling.ringing(other))["status"] == "ringing"
    assert (await calling.stored(live["_id"]))["reason"] == "missed"


@pytest.mark.gen_test
async def test_a_doctor_in_a_call_starts_no_second_one(calling, case):
    await calling.ringing(case)
    other = await calling.visit(case.doctor)
    for visit in (case, other):
        with pytest.raises(WrongState):
            await calling.ringing(visit)
    assert [len(await calls_of(calling, visit)) for visit in (case, other)] == [1, 0]


@pytest.mark.gen_test
async def test_of_two_doctors_who_call_a_patient_at_once_one_rings_and_the_other_finds_busy(calling, case):
    other = await calling.another_visit(case)
    both = await asyncio.gather(calling.ringing(case), calling.ringing(other))
    assert sorted((call["status"], call["reason"]) for call in both) == [("ended", "busy"), ("ringing", None)]


@pytest.mark.gen_test
async def test_a_visit_that_ends_while_its_call_is_stored_ends_the_call(calling, case, doctor, monkeypatch):
    add = calling.ctx.calls.add

    async def late(call):
        await case.act(case.doctor, "complete")
        return await add(call)

    monkeypatch.setattr(calling.ctx.calls, "add", late)
    call = await service.invite(calling.ctx, doctor, "r1", conversation=case.id, media="video")
    assert (call["status"], call["reason"]) == ("ended", "visit_ended")


# --- accept ---------------------------------------------------------------------------------------------


@pytest.mark.rule("R3-5")
@pytest.mark.gen_test
async def test_both_consents_to_recording_are_kept_with_version_hash_time_and_device(calling, case):
    call = await calling.answered(case)
    text = await calling.ctx.consent_texts.get("call_recording", "1")
    kept = [(one["account"], one["kind"], one["version"], one["hash"], one["device"]) for one in call["consents"]]
    assert kept == [
        (case.doctor.id, "call_recording", "1", text["hash"], "device-1"),
        (case.patient.id, "call_recording", "1", text["hash"], "device-1"),
    ]
    assert [one["address"] for one in call["consents"]] == ["10.1.2.3", "10.1.2.3"]
    assert call["status"] == "connecting"


@pytest.mark.rule("R3-5")
@pytest.mark.gen_test
async def test_without_consent_to_the_text_in_force_nobody_joins(calling, case, patient):
    call = await calling.ringing(case)
    with pytest.raises(Invalid):
        await service.accept(calling.ctx, patient, call_id=call["_id"], consent={"version": "0"})
    assert await calling.stored(call["_id"]) == await calling.stored(call["_id"]) | {"status": "ringing"}
    assert len((await calling.stored(call["_id"]))["consents"]) == 1


@pytest.mark.gen_test
async def test_of_several_devices_the_first_answers_and_the_others_are_told(calling, case):
    call = await calling.ringing(case)
    devices = [calling.session(case.patient, f"device-{n}") for n in range(4)]
    said = await asyncio.gather(
        *(service.accept(calling.ctx, one, call_id=call["_id"], consent=CONSENT) for one in devices),
        return_exceptions=True,
    )
    winners = [one for one in said if not isinstance(one, Exception)]
    assert [one["status"] for one in winners] == ["connecting"]
    assert {one.code for one in said if isinstance(one, Exception)} == {"answered_elsewhere"}
    stored = await calling.stored(call["_id"])
    assert [one["account"] for one in stored["consents"]] == [case.doctor.id, case.patient.id]


@pytest.mark.gen_test
async def test_the_device_that_answered_may_say_so_again(calling, case, patient):
    first = await calling.answered(case)
    again = await service.accept(calling.ctx, patient, call_id=first["_id"], consent=CONSENT)
    assert again["version"] == first["version"]


@pytest.mark.gen_test
async def test_who_answers_after_the_end_finds_it_ended(calling, case, doctor, patient):
    call = await calling.ringing(case)
    await service.end(calling.ctx, doctor, call_id=call["_id"], act="cancel")
    with pytest.raises(WrongState):
        await service.accept(calling.ctx, patient, call_id=call["_id"], consent=CONSENT)
    assert (await calling.stored(call["_id"]))["reason"] == "cancelled"


# --- ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "act", "reason"), [("patient", "decline", "declined"), ("doctor", "cancel", "cancelled")]
)
@pytest.mark.gen_test
async def test_a_ringing_call_is_declined_or_cancelled(calling, case, who, act, reason):
    call = await calling.ringing(case)
    ended = await service.end(calling.ctx, calling.session(getattr(case, who)), call_id=call["_id"], act=act)
    assert (ended["status"], ended["reason"]) == ("ended", reason)
    assert [card["reason"] for card in await calling.cards(case)] == [reason]


@pytest.mark.parametrize("who", ["patient", "doctor"])
@pytest.mark.gen_test
async def test_either_hangs_up(calling, case, who):
    call = await calling.answered(case)
    ended = await service.end(calling.ctx, calling.session(getattr(case, who)), call_id=call["_id"], act="hangup")
    assert (ended["status"], ended["reason"]) == ("ended", "hangup")


@pytest.mark.parametrize(("who", "act"), [("patient", "hangup"), ("doctor", "hangup"), ("doctor", "decline")])
@pytest.mark.gen_test
async def test_what_is_not_ones_to_do_now_is_refused_and_it_rings_on(calling, case, who, act):
    call = await calling.ringing(case)
    with pytest.raises(WrongState):
        await service.end(calling.ctx, calling.session(getattr(case, who)), call_id=call["_id"], act=act)
    assert (await calling.stored(call["_id"]))["status"] == "ringing"


@pytest.mark.gen_test
async def test_an_end_after_the_end_answers_the_call_as_it_ended(calling, case, doctor, patient):
    call = await calling.ringing(case)
    await service.end(calling.ctx, patient, call_id=call["_id"], act="decline")
    late = await service.end(calling.ctx, doctor, call_id=call["_id"], act="cancel")
    assert late["reason"] == "declined"
    assert len(await calling.cards(case)) == 1


@pytest.mark.gen_test
async def test_of_all_ends_at_once_there_is_one(calling, case, doctor, patient):
    call = await calling.ringing(case)
    ends = [(patient, "decline"), (doctor, "cancel")] * 3
    said = await asyncio.gather(*(service.end(calling.ctx, who, call_id=call["_id"], act=act) for who, act in ends))
    assert len({one["reason"] for one in said}) == 1
    stored = await calling.stored(call["_id"])
    assert [step["to"] for step in stored["history"]] == ["ringing", "ended"]
    assert len(await calling.cards(case)) == 1


# --- who ------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_strangers_call_is_not_found_whatever_is_asked(calling, case):
    call = await calling.ringing(case)
    stranger, _ = await calling.house.patient()
    session = calling.session(stranger)
    with pytest.raises(NotFound):
        await service.require_own(calling.ctx, session, call["_id"])
    with pytest.raises(NotFound):
        await service.accept(calling.ctx, session, call_id=call["_id"], consent=CONSENT)
    with pytest.raises(NotFound):
        await service.end(calling.ctx, session, call_id=call["_id"], act="decline")
    with pytest.raises(NotFound):
        await service.read(calling.ctx, caller=stranger, call_id=call["_id"])
    assert (await calling.stored(call["_id"]))["status"] == "ringing"


@pytest.mark.gen_test
async def test_a_token_of_one_call_reaches_no_other_of_the_same_person(calling, case):
    call = await calling.ringing(case)
    bound = calling.session(case.patient, scope="call", call="01J0000000000000000000000A")
    with pytest.raises(NotFound):
        await service.require_own(calling.ctx, bound, call["_id"])
    own = calling.session(case.patient, scope="call", call=call["_id"])
    assert (await service.require_own(calling.ctx, own, call["_id"]))["_id"] == call["_id"]


@pytest.mark.gen_test
async def test_the_calls_of_a_visit_are_paged_newest_first_for_its_two_members(calling, case, patient):
    made = []
    for _ in range(3):
        call = await calling.ringing(case)
        await service.end(calling.ctx, patient, call_id=call["_id"], act="decline")
        made.insert(0, call["_id"])
    first = await service.page_of(calling.ctx, caller=case.patient, visit_id=case.id, limit=2, cursor=None)
    rest = await service.page_of(calling.ctx, caller=case.doctor, visit_id=case.id, limit=2, cursor=made[1])
    assert ([one["_id"] for one in first], [one["_id"] for one in rest]) == (made, made[2:])
    stranger: Caller = await calling.doctor()
    with pytest.raises(NotFound):
        await service.page_of(calling.ctx, caller=stranger, visit_id=case.id, limit=2, cursor=None)


# --- retention ------------------------------------------------------------------------------------------


@pytest.mark.rule("R5-2")
@pytest.mark.gen_test
async def test_a_call_is_kept_for_years_after_its_end(calling, case, patient):
    call = await calling.ringing(case)
    ended = await service.end(calling.ctx, patient, call_id=call["_id"], act="decline")
    assert ended["retain_until"].year - ended["ended_at"].year == calling.ctx.policy.retain_call_years >= 3
