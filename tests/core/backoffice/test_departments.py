import asyncio

import pytest

from core.backoffice import departments
from core.errors import Conflict, Invalid, NotFound
from tests.core.partial import caller_of

ADMIN = caller_of("admin", "office")


async def create(ctx, name="康复医学科", code="21", **given):
    form = {"introduction": "", "order": None} | given
    return await departments.create(ctx, caller=ADMIN, name=name, code=code, **form)


async def change(ctx, id_, **values):
    return await departments.change(ctx, caller=ADMIN, department_id=id_, values=values)


@pytest.mark.gen_test
async def test_a_new_department_comes_last_and_is_in_the_catalogue_at_once(ctx):
    first, second = await create(ctx), await create(ctx, "疼痛科", "27")
    await create(ctx, "儿科", "07", order=0)
    assert [one["name"] for one in await departments.every(ctx)] == ["儿科", "康复医学科", "疼痛科"]
    assert [one["name"] for one in ctx.catalogue.departments()] == ["儿科", "康复医学科", "疼痛科"]
    assert (first["order"], second["order"]) == (1, 2)


@pytest.mark.gen_test
async def test_codes_that_are_not_official_are_refused_and_nothing_is_made(ctx):
    with pytest.raises(Invalid):
        await create(ctx, code="99.99")
    made = await create(ctx)
    with pytest.raises(Invalid):
        await change(ctx, made["_id"], name="新名", code="99.99")
    assert await departments.every(ctx) == [made]


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_a_change_says_who_changed_what(ctx):
    made = await create(ctx)
    changed = await change(ctx, made["_id"], name="康复科", order=1)
    assert (changed["name"], changed["version"]) == ("康复科", 2)
    assert [(step["act"], step["actor"]) for step in changed["history"]] == [
        ("create", "office"),
        ("change_name", "office"),
    ]
    assert await change(ctx, made["_id"], name="康复科") == changed


@pytest.mark.gen_test
async def test_of_two_changes_at_once_one_is_refused(ctx):
    made = await create(ctx)
    outcomes = await asyncio.gather(
        *(change(ctx, made["_id"], name=name, version=1) for name in ("甲科", "乙科")), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "dict"]
    assert isinstance(next(one for one in outcomes if not isinstance(one, dict)), Conflict)
    assert (await ctx.departments.get(made["_id"]))["version"] == 2


@pytest.mark.gen_test
async def test_a_department_without_a_version_yet_can_be_changed(ctx):
    made = await create(ctx)
    await ctx.store.db["departments"].update_one({"_id": made["_id"]}, {"$unset": {"version": "", "history": ""}})
    changed = await change(ctx, made["_id"], name="康复科")
    assert (changed["version"], len(changed["history"])) == (2, 1)


@pytest.mark.gen_test
async def test_an_unknown_department_is_not_found(ctx):
    with pytest.raises(NotFound):
        await change(ctx, "nothing", name="无")
