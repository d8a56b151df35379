"""Who may see and hear a recording, and by what."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from core.errors import AppError
from rtc import playback, service
from tests.core.partial import caller_of, lift
from tests.rtc.stored import keep_film

pytestmark = pytest.mark.gen_test(timeout=30)


async def filmed(calling, case):
    call = await calling.ringing(case)
    await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await keep_film(calling.ctx, call["_id"], b"film")
    return call["_id"]


async def hire(ctx, caller, status="active"):
    """An account for somebody who was made without one."""
    own = {"_id": caller.id, "role": caller.role, "status": status, "phone_index": caller.id, "audience": "staff"}
    await ctx.accounts.add(own)


async def refused(work):
    with pytest.raises(AppError) as error:
        await work
    return error.value.code


async def asked(ctx, caller, call_id, variant="film"):
    """A link as its query says it."""
    link = await playback.link(ctx, caller=caller, call_id=call_id, variant=variant, reason="质控抽查")
    query = {name: value for name, (value,) in parse_qs(urlsplit(link["url"]).query).items()}
    return query | {"expires": int(query["expires"]), "call_id": call_id}


@pytest.mark.rule("R6-4")
async def test_a_link_asks_for_a_fresh_proof_and_keeps_the_reason(calling, case):
    ctx, call_id = calling.ctx, await filmed(calling, case)
    ask = {"caller": case.doctor, "call_id": call_id, "variant": "film", "reason": "患者投诉核查"}
    assert await refused(playback.link(ctx, **ask)) == "elevation_required"
    assert (await calling.stored(call_id))["recording_reads"] == []
    await lift(ctx, case.doctor)
    link = await playback.link(ctx, **ask)
    assert link["expires_at"] - ctx.clock.now() <= timedelta(minutes=5)
    (read,) = (await calling.stored(call_id))["recording_reads"]
    assert {name: read[name] for name in ("actor", "role", "variant", "reason")} == {
        "actor": case.doctor.id,
        "role": "doctor",
        "variant": "film",
        "reason": "患者投诉核查",
    }


async def test_only_the_visits_doctor_the_administrator_and_the_regulator_find_it(calling, case):
    ctx, call_id = calling.ctx, await filmed(calling, case)
    for caller in (case.doctor, caller_of("admin"), caller_of("regulator")):
        assert (await playback.recording(ctx, caller=caller, call_id=call_id))["_id"] == call_id
    for caller in (case.patient, calling.house.other_doctor, caller_of("auditor"), caller_of("nurse")):
        assert await refused(playback.recording(ctx, caller=caller, call_id=call_id)) == "not_found"
    assert (
        await refused(playback.recording(ctx, caller=case.doctor, call_id="01J0000000000000000000000A")) == "not_found"
    )


async def test_there_is_no_link_to_what_there_is_not(calling, case):
    ctx, call_id = calling.ctx, await filmed(calling, case)
    await lift(ctx, case.doctor)
    ask = playback.link(ctx, caller=case.doctor, call_id=call_id, variant="0" * 16 + "/doctor-1-1.webm", reason="复核")
    assert await refused(ask) == "not_found"
    assert (await calling.stored(call_id))["recording_reads"] == []


async def test_a_link_is_good_for_its_account_file_and_time_alone(calling, case):
    ctx, call_id = calling.ctx, await filmed(calling, case)
    await lift(ctx, case.doctor)
    await hire(ctx, case.doctor)
    query = await asked(ctx, case.doctor, call_id)
    content = await playback.require_granted(ctx, **query)
    assert (content.size, content.mime, content.disposition) == (4, "video/mp4", f'inline; filename="{call_id}.mp4"')
    other = await filmed(calling, case)
    for change in (
        {"account": case.patient.id},
        {"variant": "0" * 16 + "/doctor-1-1.webm"},
        {"expires": query["expires"] + 1},
        {"call_id": other},
        {"signature": "x"},
    ):
        assert await refused(playback.require_granted(ctx, **(query | change))) == "forbidden"

    class Later:
        def now(self):
            return calling.ctx.clock.now() + timedelta(minutes=6)

    late = replace(ctx, clock=Later())
    assert await refused(playback.require_granted(late, **query)) == "forbidden"


@pytest.mark.parametrize("status", [None, "disabled"])
async def test_a_link_ends_with_its_account(calling, case, status):
    ctx, call_id = calling.ctx, await filmed(calling, case)
    admin = caller_of("admin")
    await lift(ctx, admin)
    if status is not None:
        await hire(ctx, admin, status)
    query = await asked(ctx, admin, call_id)
    assert await refused(playback.require_granted(ctx, **query)) == "not_found"
