import asyncio

import pytest

from core.errors import Conflict, Invalid, ServiceUnavailable
from core.patients import service
from core.ports import Rejected, Unavailable, Verdict
from tests.core.partial import NOW
from tests.core.patients.people import CHILD_BORN, form_of, guardian_of


async def verify(ctx, caller, patient):
    return await service.verify(ctx, caller=caller, patient_id=patient["_id"])


async def set_guardian(ctx, caller, patient, form):
    return await service.set_guardian(ctx, caller=caller, patient_id=patient["_id"], form=form)


@pytest.mark.rule("R2-1")
@pytest.mark.feature("P1.2")
@pytest.mark.gen_test
async def test_match_verifies_and_keeps_provider_serial_and_time(ctx, caller, identity):
    form = form_of()
    patient = await service.add(ctx, caller=caller, form=form)
    verified = await verify(ctx, caller, patient)
    assert verified["verification"] == {"state": "verified", "provider": "register", "serial": "serial-1", "at": NOW}
    assert identity.asked == [(form["name"], form["id_number"])]
    assert await service.require_submittable(ctx, caller, patient["_id"]) == verified


@pytest.mark.gen_test
async def test_verified_patient_is_not_asked_about_again(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of())
    verified = await verify(ctx, caller, patient)
    assert await verify(ctx, caller, patient) == verified
    assert len(identity.asked) == 1


@pytest.mark.rule("R2-1")
@pytest.mark.parametrize("verdict", [Verdict.MISMATCH, Verdict.INVALID])
@pytest.mark.gen_test
async def test_no_is_refused_and_kept_as_failed(ctx, caller, identity, verdict):
    identity.verdict = verdict
    patient = await service.add(ctx, caller=caller, form=form_of())
    with pytest.raises(Conflict) as refused:
        await verify(ctx, caller, patient)
    assert refused.value.code == "verification_failed"
    stored = await ctx.patients.get(patient["_id"])
    assert stored["verification"] == {"state": "failed", "provider": "register", "serial": "serial-1", "at": NOW}
    with pytest.raises(Conflict) as unsubmittable:
        await service.require_submittable(ctx, caller, patient["_id"])
    assert unsubmittable.value.code == "not_verified"
    identity.verdict = Verdict.MATCH
    assert (await verify(ctx, caller, patient))["verification"]["state"] == "verified"


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
async def test_missing_record_waits_for_a_person_and_does_not_count(ctx, caller, identity):
    identity.verdict = Verdict.NO_RECORD
    patient = await service.add(ctx, caller=caller, form=form_of())
    assert (await verify(ctx, caller, patient))["verification"]["state"] == "manual_review"
    with pytest.raises(Conflict) as refused:
        await service.require_submittable(ctx, caller, patient["_id"])
    assert refused.value.code == "not_verified"


@pytest.mark.rule("R2-1")
@pytest.mark.parametrize(("fault", "raised"), [(Unavailable(), Unavailable), (Rejected("account"), ServiceUnavailable)])
@pytest.mark.gen_test
async def test_register_that_does_not_answer_changes_nothing(ctx, caller, identity, fault, raised):
    identity.fault = fault
    patient = await service.add(ctx, caller=caller, form=form_of())
    with pytest.raises(raised):
        await verify(ctx, caller, patient)
    assert await ctx.patients.get(patient["_id"]) == patient


@pytest.mark.gen_test
async def test_paper_the_register_does_not_know_waits_for_a_person_unasked(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(id_type="03", id_number="G12345678"))
    assert (await verify(ctx, caller, patient))["verification"]["state"] == "manual_review"
    assert identity.asked == []


@pytest.mark.gen_test
async def test_two_taps_at_once_both_see_the_match(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of())
    first, second = await asyncio.gather(verify(ctx, caller, patient), verify(ctx, caller, patient))
    assert first["verification"]["state"] == second["verification"]["state"] == "verified"
    assert (await ctx.patients.get(patient["_id"]))["version"] == 2


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
async def test_match_for_what_was_edited_meanwhile_does_not_count(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of())
    asked = identity.verify

    async def edited_meanwhile(name, id_number):
        await service.change(ctx, caller=caller, patient_id=patient["_id"], form={"name": "张大三"})
        return await asked(name, id_number)

    identity.verify = edited_meanwhile
    with pytest.raises(Conflict) as refused:
        await verify(ctx, caller, patient)
    assert refused.value.code == "conflict"
    assert (await ctx.patients.get(patient["_id"]))["verification"]["state"] == "unverified"


@pytest.mark.rule("R3-3")
@pytest.mark.rule("R6-5")
@pytest.mark.gen_test
async def test_guardian_is_verified_and_sealed(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    form = guardian_of()
    changed = await set_guardian(ctx, caller, patient, form)
    assert identity.asked == [(form["name"], form["id_number"])]
    assert changed["guardian"]["verification"]["state"] == "verified"
    assert [form[name] for name in ("name", "id_number", "phone") if form[name] in str(changed)] == []
    assert service.opened(ctx, changed)["guardian"] == changed["guardian"] | form


@pytest.mark.gen_test
async def test_same_guardian_is_not_asked_about_again(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    form = guardian_of()
    await set_guardian(ctx, caller, patient, form)
    changed = await set_guardian(ctx, caller, patient, form | {"phone": "13900001234", "relation": "mother"})
    assert (changed["guardian"]["verification"]["serial"], changed["guardian"]["relation"]) == ("serial-1", "mother")
    await set_guardian(ctx, caller, patient, form | {"name": "李五"})
    assert len(identity.asked) == 2


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_patient_of_fourteen_takes_no_guardian(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(NOW.date().replace(year=2012)))
    with pytest.raises(Invalid):
        await set_guardian(ctx, caller, patient, guardian_of())
    assert (await ctx.patients.get(patient["_id"]), identity.asked) == (patient, [])


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_minor_is_no_guardian(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    with pytest.raises(Invalid) as refused:
        await set_guardian(ctx, caller, patient, guardian_of(NOW.date().replace(year=2009)))
    assert list(refused.value.errors) == ["id_number"]
    assert (await ctx.patients.get(patient["_id"]), identity.asked) == (patient, [])


@pytest.mark.rule("R2-1")
@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_guardian_whom_the_register_denies_or_cannot_tell_replaces_nobody(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    before = await set_guardian(ctx, caller, patient, guardian_of())
    identity.verdict = Verdict.MISMATCH
    with pytest.raises(Conflict) as refused:
        await set_guardian(ctx, caller, patient, guardian_of())
    assert refused.value.code == "verification_failed"
    identity.fault = Unavailable()
    with pytest.raises(Unavailable):
        await set_guardian(ctx, caller, patient, guardian_of())
    assert await ctx.patients.get(patient["_id"]) == before


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_guardian_without_a_record_is_kept_and_does_not_count(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    await verify(ctx, caller, patient)
    identity.verdict = Verdict.NO_RECORD
    changed = await set_guardian(ctx, caller, patient, guardian_of())
    assert changed["guardian"]["verification"]["state"] == "manual_review"
    with pytest.raises(Conflict) as refused:
        await service.require_submittable(ctx, caller, patient["_id"])
    assert refused.value.code == "guardian_required"
