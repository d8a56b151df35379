import asyncio
from datetime import timedelta

import pytest

from core.errors import AppError, Conflict, Invalid, NotFound
from core.patients import service
from tests.core.partial import NOW, caller_of
from tests.core.patients.people import CHILD_BORN, form_of, guardian_of


async def codes(*calls) -> list[str]:
    """ "ok" or the code of the refusal, of calls made at once."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, AppError):
            raise outcome
    return sorted(outcome.code if isinstance(outcome, AppError) else "ok" for outcome in outcomes)


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test
async def test_name_number_and_phone_are_sealed_in_the_store(ctx, caller):
    form = form_of()
    patient = await service.add(ctx, caller=caller, form=form)
    stored = str(await ctx.patients.get(patient["_id"]))
    assert [form[name] for name in ("name", "id_number", "phone") if form[name] in stored] == []
    assert service.opened(ctx, patient)["id_number"] == form["id_number"]


@pytest.mark.rule("R5-1")
@pytest.mark.gen_test
async def test_record_is_kept_fifteen_years_and_longer_with_later_visits(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of())
    assert patient["retain_until"] == NOW.replace(year=2041)
    await service.retain(ctx, patient["_id"], NOW.replace(year=2042))
    await service.retain(ctx, patient["_id"], NOW.replace(year=2040))
    assert (await ctx.patients.get(patient["_id"]))["retain_until"] == NOW.replace(year=2042)


@pytest.mark.feature("P1.2")
@pytest.mark.gen_test
async def test_same_person_added_twice_at_once_is_there_once(ctx, caller):
    form = form_of()
    small = form | {"id_number": f" {form['id_number'].lower()} ", "id_type": "02"}
    assert await codes(*(service.add(ctx, caller=caller, form=one) for one in (form, small))) == ["duplicate", "ok"]
    assert len(await service.listed(ctx, caller=caller)) == 1
    await service.add(ctx, caller=caller_of(), form=form)


@pytest.mark.gen_test
async def test_account_has_one_self(ctx, caller):
    first, second = form_of(relation="self"), form_of(relation="self")
    assert await codes(*(service.add(ctx, caller=caller, form=one) for one in (first, second))) == ["duplicate", "ok"]
    [own] = await service.listed(ctx, caller=caller)
    other = await service.add(ctx, caller=caller, form=form_of())
    with pytest.raises(Conflict) as refused:
        await service.change(ctx, caller=caller, patient_id=other["_id"], form={"relation": "self"})
    assert refused.value.errors == {"relation": ["本人只能添加一位"]}
    await service.change(ctx, caller=caller, patient_id=own["id"], form={"relation": "other"})
    await service.change(ctx, caller=caller, patient_id=other["_id"], form={"relation": "self"})


@pytest.mark.gen_test(timeout=20)
async def test_number_of_patients_is_bounded_also_for_those_added_at_once(ctx, caller):
    for _ in range(ctx.policy.patients_per_account - 2):
        await service.add(ctx, caller=caller, form=form_of())
    outcomes = await codes(*(service.add(ctx, caller=caller, form=form_of()) for _ in range(4)))
    assert outcomes == ["limit_reached", "limit_reached", "ok", "ok"]
    assert len(await service.listed(ctx, caller=caller)) == ctx.policy.patients_per_account


@pytest.mark.gen_test
async def test_identity_that_does_not_hold_together_is_not_stored(ctx, caller):
    for fault in ({"gender": "2"}, {"birth_date": "1988-02-16"}, {"id_number": "412825199412252999"}):
        with pytest.raises(Invalid) as refused:
            await service.add(ctx, caller=caller, form=form_of(**fault))
        assert list(refused.value.errors) == list(fault)
    assert await service.listed(ctx, caller=caller) == []


@pytest.mark.rule("R2-1")
@pytest.mark.parametrize("name", ["name", "id_number", "id_type"])
@pytest.mark.gen_test
async def test_changed_identity_must_be_verified_again(ctx, caller, name):
    patient = await service.add(ctx, caller=caller, form=form_of())
    await service.verify(ctx, caller=caller, patient_id=patient["_id"])
    new = {"name": "张大三", "id_number": form_of()["id_number"], "id_type": "02"}[name]
    changed = await service.change(ctx, caller=caller, patient_id=patient["_id"], form={name: new})
    assert changed["verification"] == {"state": "unverified", "provider": None, "serial": None, "at": None}
    assert service.opened(ctx, changed)[name] == new
    with pytest.raises(Conflict) as refused:
        await service.require_submittable(ctx, caller, patient["_id"])
    assert refused.value.code == "not_verified"


@pytest.mark.gen_test
async def test_changed_phone_and_relation_keep_the_verification(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of())
    await service.verify(ctx, caller=caller, patient_id=patient["_id"])
    form = {"phone": "13900001234", "relation": "parent", "name": "张小三"}
    changed = await service.change(ctx, caller=caller, patient_id=patient["_id"], form=form)
    assert (changed["verification"]["state"], changed["relation"]) == ("verified", "parent")
    assert service.opened(ctx, changed)["phone"] == "13900001234"
    assert [step["act"] for step in changed["history"]] == ["create", "verify", "edit"]


@pytest.mark.gen_test
async def test_new_number_brings_its_own_birth_date_and_gender(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of())
    new = form_of(CHILD_BORN)["id_number"]
    changed = await service.change(ctx, caller=caller, patient_id=patient["_id"], form={"id_number": new})
    assert (changed["birth_date"], changed["gender"]) == ("2018-06-01", "1")
    with pytest.raises(Invalid):
        await service.change(ctx, caller=caller, patient_id=patient["_id"], form={"birth_date": "2018-06-02"})


@pytest.mark.gen_test
async def test_change_of_what_somebody_else_has_changed_is_refused(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of())
    calls = [{"phone": f"1390000000{number}", "version": 1} for number in range(2)]
    outcomes = await codes(
        *(service.change(ctx, caller=caller, patient_id=patient["_id"], form=form) for form in calls)
    )
    assert outcomes == ["conflict", "ok"]
    with pytest.raises(Conflict):
        await service.change(ctx, caller=caller, patient_id=patient["_id"], form=calls[0])


@pytest.mark.gen_test
async def test_change_into_another_listed_patient_is_refused(ctx, caller):
    first, second = form_of(), form_of()
    await service.add(ctx, caller=caller, form=first)
    patient = await service.add(ctx, caller=caller, form=second)
    with pytest.raises(Conflict) as refused:
        await service.change(ctx, caller=caller, patient_id=patient["_id"], form={"id_number": first["id_number"]})
    assert refused.value.code == "duplicate"
    assert await ctx.patients.get(patient["_id"]) == patient


@pytest.mark.gen_test
async def test_change_that_changes_nothing_writes_nothing(ctx, caller):
    form = form_of()
    patient = await service.add(ctx, caller=caller, form=form)
    assert await service.change(ctx, caller=caller, patient_id=patient["_id"], form=form) == patient


@pytest.mark.rule("R5-1")
@pytest.mark.feature("P1.2")
@pytest.mark.gen_test
async def test_removed_patient_is_gone_from_lists_but_stays_on_record(ctx, caller):
    form = form_of(relation="self")
    patient = await service.add(ctx, caller=caller, form=form)
    assert await codes(*(service.remove(ctx, caller=caller, patient_id=patient["_id"]) for _ in range(2))) == [
        "not_found",
        "ok",
    ]
    assert await service.listed(ctx, caller=caller) == []
    kept = await ctx.patients.get(patient["_id"])
    assert (kept["removed_at"], kept["retain_until"]) == (NOW, patient["retain_until"])
    assert service.opened(ctx, kept)["name"] == form["name"]
    again = await service.add(ctx, caller=caller, form=form)
    assert again["_id"] != patient["_id"]


@pytest.mark.gen_test
async def test_stranger_finds_nothing_and_changes_nothing(ctx, caller, identity):
    patient = await service.add(ctx, caller=caller, form=form_of(CHILD_BORN))
    stranger, id_ = caller_of(), patient["_id"]
    for refused in (
        service.require_own(ctx, stranger, id_),
        service.require_submittable(ctx, stranger, id_),
        service.change(ctx, caller=stranger, patient_id=id_, form={"phone": "13900001234"}),
        service.remove(ctx, caller=stranger, patient_id=id_),
        service.verify(ctx, caller=stranger, patient_id=id_),
        service.set_guardian(ctx, caller=stranger, patient_id=id_, form=guardian_of()),
    ):
        with pytest.raises(NotFound):
            await refused
    assert (await ctx.patients.get(id_), identity.asked) == (patient, [])


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_child_can_be_submitted_with_a_verified_guardian_or_on_the_birthday(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of(NOW.date().replace(year=2012) + timedelta(days=1)))
    await service.verify(ctx, caller=caller, patient_id=patient["_id"])
    with pytest.raises(Conflict) as refused:
        await service.require_submittable(ctx, caller, patient["_id"])
    assert refused.value.code == "guardian_required"
    await service.set_guardian(ctx, caller=caller, patient_id=patient["_id"], form=guardian_of())
    assert (await service.require_submittable(ctx, caller, patient["_id"]))["_id"] == patient["_id"]


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_guardian_is_not_needed_from_the_fourteenth_birthday_in_china(ctx, caller):
    patient = await service.add(ctx, caller=caller, form=form_of(NOW.date().replace(year=2012) + timedelta(days=1)))
    await service.verify(ctx, caller=caller, patient_id=patient["_id"])
    ctx.clock.step(12 * 3600 - 1)  # 23:59:59 in China
    with pytest.raises(Conflict):
        await service.require_submittable(ctx, caller, patient["_id"])
    ctx.clock.step(1)
    assert await service.require_submittable(ctx, caller, patient["_id"])
