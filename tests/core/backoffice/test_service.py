import asyncio

import pytest

from core.backoffice import service
from core.errors import Conflict, NotFound
from tests.core.partial import NOW, caller_of

ADMIN = caller_of("admin", "office")


async def create(ctx, name: str, **changes):
    form = {"description": "", "order": None, "enabled": True} | changes
    return await service.create_consult_type(ctx, caller=ADMIN, name=name, **form)


async def change(ctx, id_: str, **changes):
    return await service.change_consult_type(ctx, caller=ADMIN, consult_type_id=id_, changes=changes)


@pytest.mark.feature("P1.4")
@pytest.mark.gen_test
async def test_new_type_comes_last_unless_it_is_given_a_place(ctx):
    first, last = await create(ctx, "报告解读"), await create(ctx, "用药咨询")
    await create(ctx, "慢病管理", order=0)
    assert [one["name"] for one in await service.consult_types(ctx)] == ["慢病管理", "报告解读", "用药咨询"]
    assert (first["order"], last["order"]) == (1, 2)


@pytest.mark.gen_test
async def test_names_are_unique_among_disabled_types_too(ctx):
    await create(ctx, "报告解读", enabled=False)
    other = await create(ctx, "用药咨询")
    for refused in (create(ctx, "报告解读"), change(ctx, other["_id"], name="报告解读")):
        with pytest.raises(Conflict) as error:
            await refused
        assert error.value.code == "duplicate"
    assert await ctx.consult_types.get(other["_id"]) == other


@pytest.mark.feature("P1.4")
@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_history_says_who_changed_what_and_when(ctx):
    made = await create(ctx, "报告解读")
    ctx.clock.step(60)
    await change(ctx, made["_id"], name="报告咨询", order=5)
    changed = await change(ctx, made["_id"], enabled=False)
    steps = [(step["act"], step["actor"], step["role"], step["frm"], step["to"]) for step in changed["history"]]
    assert steps == [
        ("create", "office", "admin", "报告解读", "报告解读"),
        ("rename", "office", "admin", "报告解读", "报告咨询"),
        ("reorder", "office", "admin", "1", "5"),
        ("disable", "office", "admin", "True", "False"),
    ]
    assert [(step["at"] - NOW).total_seconds() for step in changed["history"]] == [0, 60, 60, 60]
    assert (changed["version"], changed["enabled"]) == (3, False)


@pytest.mark.gen_test
async def test_change_of_what_somebody_else_has_changed_is_refused(ctx):
    made = await create(ctx, "报告解读")
    outcomes = await asyncio.gather(
        *(change(ctx, made["_id"], order=order, version=1) for order in (5, 6)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "dict"]
    with pytest.raises(Conflict):
        await change(ctx, made["_id"], order=7, version=1)
    assert (await ctx.consult_types.get(made["_id"]))["version"] == 2


@pytest.mark.gen_test
async def test_change_that_changes_nothing_writes_nothing(ctx):
    made = await create(ctx, "报告解读")
    assert await change(ctx, made["_id"], name="报告解读", enabled=True) == made


@pytest.mark.gen_test
async def test_unknown_type_is_not_found(ctx):
    with pytest.raises(NotFound):
        await change(ctx, "nothing", enabled=False)
