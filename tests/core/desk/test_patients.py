from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.desk import groups, patients
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id


async def page(desk, **asked: Any) -> dict[str, Any]:
    given = {"limit": 20, "cursor": None, "group": None, "q": None} | asked
    return await patients.page_of(desk.ctx, caller=desk.doctor, **given)


def ids(found) -> list[str]:
    return [one["id"] for one in found["items"]]


@pytest.mark.feature("D3.1")
@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=20)
async def test_everybody_who_asked_is_listed_once_by_the_newest_visit_under_a_masked_name(desk, other):
    first, second = await desk.new_patient("欧阳甲"), await desk.new_patient("司马乙")
    await other.new_patient("上官丙")
    newest = await desk.asked_by(first)
    found = await page(desk)
    assert ids(found) == [first.patient, second.patient]
    assert [one["name"] for one in found["items"]] == ["欧*", "司*"]
    assert [one["visits"] for one in found["items"]] == [2, 1]
    assert found["items"][0]["last_visit"]["id"] == newest
    assert found["next_cursor"] is None


@pytest.mark.gen_test(timeout=20)
async def test_who_has_not_paid_yet_is_not_a_patient(desk):
    who = await desk.new_patient()
    visit = (await page(desk))["items"][0]["last_visit"]["id"]
    await desk.ctx.visits.note(visit, at=desk.ctx.clock.now(), set={"submitted_at": None})
    assert ids(await page(desk)) == []
    with pytest.raises(NotFound):
        await patients.require_consulted(desk.ctx, caller=desk.doctor, patient_id=who.patient)


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=30)
async def test_pages_neither_repeat_nor_pass_over_anybody_while_visits_arrive(desk):
    asking = [await desk.new_patient() for _ in range(5)]
    wanted = [one.patient for one in reversed(asking)]
    first = await page(desk, limit=2)
    # Who stands on a later page asks again and would jump to the top; somebody new comes in, too.
    await desk.asked_by(asking[0])
    newcomer = await desk.new_patient()
    second = await page(desk, limit=2, cursor=first["next_cursor"])
    await desk.asked_by(asking[4])
    third = await page(desk, limit=2, cursor=second["next_cursor"])
    assert [ids(first), ids(second), ids(third)] == [wanted[:2], wanted[2:4], wanted[4:]]
    assert third["next_cursor"] is None
    assert set(ids(await page(desk))) == {*wanted, newcomer.patient}


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_that_was_made_early_and_paid_late_makes_no_hole(desk):
    old, middle, new = [await desk.new_patient() for _ in range(3)]
    late = await desk.asked_by(old)
    await desk.ctx.visits.note(late, at=desk.ctx.clock.now(), set={"submitted_at": None})
    await desk.asked_by(new)
    first = await page(desk, limit=1)
    paid = desk.ctx.clock.now() + timedelta(seconds=1)
    await desk.ctx.visits.note(late, at=paid, set={"submitted_at": paid})
    second = await page(desk, limit=5, cursor=first["next_cursor"])
    assert ids(first) + ids(second) == [new.patient, middle.patient, old.patient]


@pytest.mark.gen_test(timeout=20)
async def test_a_name_is_looked_for_among_the_doctors_own_patients(desk, other):
    first = await desk.new_patient("欧阳甲")
    await desk.new_patient("司马乙")
    await other.new_patient("欧阳丙")
    assert ids(await page(desk, q="阳")) == [first.patient]
    assert ids(await page(desk, q="阳丙")) == []


@pytest.mark.gen_test(timeout=30)
async def test_a_search_reads_on_behind_many_who_are_not_meant(desk, monkeypatch):
    monkeypatch.setattr(patients, "BATCH", 2)
    wanted = [await desk.new_patient("欧阳甲") for _ in range(2)]
    for _ in range(3):
        await desk.new_patient("司马乙")
    assert ids(await page(desk, q="欧阳")) == [wanted[1].patient, wanted[0].patient]
    first = await page(desk, q="欧阳", limit=1)
    rest = await page(desk, q="欧阳", limit=1, cursor=first["next_cursor"])
    assert (ids(first), ids(rest), rest["next_cursor"]) == ([wanted[1].patient], [wanted[0].patient], None)


@pytest.mark.gen_test(timeout=30)
async def test_a_search_that_has_read_enough_says_where_to_go_on(desk, monkeypatch):
    monkeypatch.setattr(patients, "BATCH", 2)
    monkeypatch.setattr(patients, "SEARCHED", 2)
    wanted = await desk.new_patient("欧阳甲")
    for _ in range(3):
        await desk.new_patient("司马乙")
    first = await page(desk, q="欧阳")
    rest = await page(desk, q="欧阳", cursor=first["next_cursor"])
    assert ids(first) == []
    assert ids(rest) == [wanted.patient]


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=20)
async def test_a_patient_is_in_several_groups_and_each_lists_its_own(desk):
    first, second = await desk.new_patient(), await desk.new_patient()
    made = [await groups.create(desk.ctx, caller=desk.doctor, name=name) for name in ("复查", "高血压")]
    for group in (*made, made[0]):
        await patients.put_into_group(desk.ctx, caller=desk.doctor, group_id=group["_id"], patient_id=first.patient)
    everybody = await page(desk)
    assert [[group["name"] for group in one["groups"]] for one in everybody["items"]] == [[], ["复查", "高血压"]]
    assert ids(await page(desk, group=made[0]["_id"])) == [first.patient]
    for _ in range(2):
        await patients.take_out_of_group(
            desk.ctx, caller=desk.doctor, group_id=made[0]["_id"], patient_id=first.patient
        )
    assert ids(await page(desk, group=made[0]["_id"])) == []
    assert ids(await page(desk, group=made[1]["_id"])) == [first.patient]
    assert set(ids(await page(desk))) == {first.patient, second.patient}


@pytest.mark.gen_test(timeout=20)
async def test_only_who_has_consulted_the_doctor_is_put_into_the_doctors_own_group(desk, other):
    mine, stranger = await desk.new_patient(), await other.new_patient()
    group = await groups.create(desk.ctx, caller=desk.doctor, name="复查")
    for doctor, patient in ((desk.doctor, stranger.patient), (desk.doctor, new_id()), (other.doctor, mine.patient)):
        with pytest.raises(NotFound):
            await patients.put_into_group(desk.ctx, caller=doctor, group_id=group["_id"], patient_id=patient)
    with pytest.raises(NotFound):
        await patients.take_out_of_group(desk.ctx, caller=other.doctor, group_id=group["_id"], patient_id=mine.patient)
    assert await desk.ctx.patient_groups.get(group["_id"]) == group


@pytest.mark.gen_test(timeout=20)
async def test_a_full_group_takes_nobody_else_and_those_in_it_are_welcome(desk):
    small = replace(desk.ctx, policy=replace(desk.ctx.policy, patients_per_group=1))
    first, second = await desk.new_patient(), await desk.new_patient()
    group = await groups.create(small, caller=desk.doctor, name="复查")
    for _ in range(2):
        await patients.put_into_group(small, caller=desk.doctor, group_id=group["_id"], patient_id=first.patient)
    with pytest.raises(Conflict) as refused:
        await patients.put_into_group(small, caller=desk.doctor, group_id=group["_id"], patient_id=second.patient)
    assert refused.value.code == "limit_reached"
    assert (await small.patient_groups.get(group["_id"]))["patients"] == [first.patient]


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=20)
async def test_the_record_names_the_patient_and_holds_what_this_doctor_was_told_only(desk, other):
    who = await desk.asking("欧阳甲")
    mine = [await desk.asked_by(who) for _ in range(2)]
    await other.asked_by(who)
    record, visits = await patients.open_record(
        desk.ctx, caller=desk.doctor, patient_id=who.patient, limit=20, cursor=None
    )
    assert (record["name"], record["visits"], record["birth_date"]) == ("欧阳甲", 2, "1990-03-07")
    assert [visit["_id"] for visit in visits] == [mine[1], mine[0]]


@pytest.mark.gen_test(timeout=20)
async def test_a_stranger_has_no_record_here(desk, other):
    who = await other.new_patient()
    for patient in (who.patient, new_id()):
        with pytest.raises(NotFound):
            await patients.open_record(desk.ctx, caller=desk.doctor, patient_id=patient, limit=20, cursor=None)


@pytest.mark.gen_test
async def test_a_foreign_group_or_cursor_is_refused(desk, other):
    group = await groups.create(other.ctx, caller=other.doctor, name="复查")
    with pytest.raises(NotFound):
        await page(desk, group=group["_id"])
    with pytest.raises(Invalid):
        await page(desk, cursor=new_id())
