import asyncio
from dataclasses import replace

import pytest

from core.desk import groups
from core.errors import Conflict, NotFound
from core.ids import new_id


async def names(desk) -> list[str]:
    return [group["name"] for group in await groups.own(desk.ctx, caller=desk.doctor)]


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test
async def test_groups_stand_in_the_order_they_were_made(desk, other):
    for name in ("复查", "高血压", "术后"):
        await groups.create(desk.ctx, caller=desk.doctor, name=name)
    await groups.create(desk.ctx, caller=other.doctor, name="复查")
    assert await names(desk) == ["复查", "高血压", "术后"]
    assert await names(other) == ["复查"]


@pytest.mark.gen_test
async def test_a_name_is_given_once_however_many_devices_ask_at_once(desk):
    made = await asyncio.gather(
        *(groups.create(desk.ctx, caller=desk.doctor, name="复查") for _ in range(4)), return_exceptions=True
    )
    refused = [one for one in made if isinstance(one, Conflict)]
    assert [one.code for one in refused] == ["duplicate"] * 3
    assert await names(desk) == ["复查"]


@pytest.mark.gen_test
async def test_groups_made_at_once_get_a_place_each_and_never_more_than_allowed(desk):
    few = replace(desk.ctx, policy=replace(desk.ctx.policy, groups_per_doctor=3))
    made = await asyncio.gather(
        *(groups.create(few, caller=desk.doctor, name=f"组{n}") for n in range(4)), return_exceptions=True
    )
    assert [one.code for one in made if isinstance(one, Conflict)] == ["limit_reached"]
    assert len(await names(desk)) == 3
    kept = await groups.own(few, caller=desk.doctor)
    await groups.remove(few, caller=desk.doctor, group_id=kept[0]["_id"])
    assert (await groups.create(few, caller=desk.doctor, name="新组"))["slot"] == kept[0]["slot"]


@pytest.mark.gen_test
async def test_a_group_is_renamed_and_keeps_its_patients(desk):
    group = await groups.create(desk.ctx, caller=desk.doctor, name="复查")
    await desk.ctx.patient_groups.put(group["_id"], "p", most=9, at=desk.ctx.clock.now())
    renamed = await groups.rename(desk.ctx, caller=desk.doctor, group_id=group["_id"], name="随访")
    again = await groups.rename(desk.ctx, caller=desk.doctor, group_id=group["_id"], name="随访")
    assert (renamed["name"], renamed["patients"]) == ("随访", ["p"])
    assert again == renamed


@pytest.mark.gen_test
async def test_a_taken_name_is_refused_and_the_group_keeps_its_own(desk):
    await groups.create(desk.ctx, caller=desk.doctor, name="复查")
    second = await groups.create(desk.ctx, caller=desk.doctor, name="随访")
    with pytest.raises(Conflict) as refused:
        await groups.rename(desk.ctx, caller=desk.doctor, group_id=second["_id"], name="复查")
    assert (refused.value.code, list(refused.value.errors)) == ("duplicate", ["name"])
    assert await names(desk) == ["复查", "随访"]


@pytest.mark.gen_test
async def test_another_doctors_group_is_not_there(desk, other):
    group = await groups.create(desk.ctx, caller=desk.doctor, name="复查")
    for id_ in (group["_id"], new_id()):
        for asked in (
            groups.require_own(desk.ctx, caller=other.doctor, group_id=id_),
            groups.rename(desk.ctx, caller=other.doctor, group_id=id_, name="我的"),
            groups.remove(desk.ctx, caller=other.doctor, group_id=id_),
        ):
            with pytest.raises(NotFound):
                await asked
    assert await desk.ctx.patient_groups.get(group["_id"]) == group
