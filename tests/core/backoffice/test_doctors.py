import asyncio

import pytest

from core.backoffice import doctors
from core.directory import service as directory
from core.errors import Conflict, Invalid, NotFound
from tests.core.partial import a_doctor, caller_of, register_doctors

ADMIN = caller_of("admin", "office")


def account(id_="d1", **changes):
    return {"_id": id_, "role": "doctor", "status": "active"} | changes


async def change(ctx, id_="d1", **values):
    return await doctors.change(ctx, caller=ADMIN, doctor_id=id_, values=values)


def offered(ctx, id_="d1"):
    return directory.doctor_page(ctx, id_)["services"]


@pytest.mark.rule("R2-2")
@pytest.mark.rule("R2-8")
@pytest.mark.gen_test
async def test_the_office_sees_everybody_and_why_somebody_is_not_offered(ctx):
    await register_doctors(
        ctx,
        a_doctor("d1"),
        a_doctor("d2", licence_valid_to="2026-11-01", consent_document=None),
        a_doctor("d3", practice_start="2025-01-01", main_institution=False),
        a_doctor("d4", services=[]),
        a_doctor("d5", services=["consult"], fees={"consult": 60_000}),
        a_doctor("d6", suspended=True),
    )
    rows = {row["_id"]: [bar["code"] for bar in row["bars"]] for row in await doctors.every(ctx)}
    assert rows == {
        "d1": [],
        "d2": ["licence_expired", "no_consent"],
        "d3": ["practice_too_short", "not_filed"],
        "d4": ["no_service"],
        "d5": ["no_fee"],
        "d6": ["suspended"],
    }
    for id_, bars in rows.items():
        assert bool(offered(ctx, id_)) is not bool(bars)
    assert [row["_id"] for row in await doctors.every(ctx, offered=True)] == ["d1"]
    assert len(await doctors.every(ctx, offered=False)) == 5


@pytest.mark.gen_test
async def test_a_change_is_offered_at_once_and_says_who_made_it(ctx):
    await register_doctors(ctx, a_doctor("d1"))
    changed = await change(ctx, services=["followup"], skills=["心衰"])
    assert offered(ctx) == ["followup"]
    assert [(step["act"], step["actor"]) for step in changed["history"]] == [
        ("change_services", "office"),
        ("change_skills", "office"),
    ]
    assert (await change(ctx, services=["followup"]))["version"] == changed["version"] == 2


@pytest.mark.rule("R6-8")
@pytest.mark.gen_test
async def test_what_no_doctor_may_have_is_refused_by_name_and_nothing_changes(ctx):
    await register_doctors(ctx, a_doctor("d1"))
    before = await ctx.doctors.get("d1")
    with pytest.raises(Invalid) as refused:
        await change(
            ctx,
            fees={"consult": 50_001},
            title="999",
            department_id="nowhere",
            practice_scope=["99"],
            practice_start="2026-11-03",
            introduction="新介绍",
        )
    assert set(refused.value.errors) == {
        "fees.consult",
        "title",
        "department_id",
        "practice_scope",
        "practice_start",
    }
    assert await ctx.doctors.get("d1") == before


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test
async def test_who_may_not_practise_any_more_goes_offline(ctx):
    await register_doctors(ctx, a_doctor("d1", online=True))
    changed = await change(ctx, licence_valid_to="2026-11-01")
    assert (changed["online"], changed["history"][-1]["act"], changed["history"][-1]["actor"]) == (
        False,
        "change_online",
        "system",
    )


@pytest.mark.gen_test
async def test_of_two_changes_at_once_one_is_refused_and_so_is_a_stale_version(ctx):
    await register_doctors(ctx, a_doctor("d1"))
    outcomes = await asyncio.gather(
        *(change(ctx, introduction=said, version=1) for said in ("甲", "乙")), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "dict"]
    with pytest.raises(Conflict):
        await change(ctx, introduction="丙", version=1)
    assert (await ctx.doctors.get("d1"))["version"] == 2


@pytest.mark.gen_test
async def test_a_page_is_made_once_for_an_account(ctx):
    await register_doctors(ctx)
    wanted = a_doctor("x")
    page = {
        name: wanted[name]
        for name in wanted
        if name
        not in ("_id", "name", "photo", "online", "rating_sum", "rating_count", "version", "created_at", "updated_at")
    }
    await doctors.create(ctx, caller=ADMIN, account=account(), name="林静", page=page)
    assert (directory.doctor_page(ctx, "d1")["name"], offered(ctx)) == ("林静", ["consult", "followup"])
    with pytest.raises(Conflict) as refused:
        await doctors.create(ctx, caller=ADMIN, account=account(), name="别人", page=page)
    assert refused.value.code == "duplicate"
    assert directory.doctor_page(ctx, "d1")["name"] == "林静"


@pytest.mark.gen_test
async def test_the_page_follows_its_account(ctx):
    await register_doctors(ctx, a_doctor("d1", online=True))
    for changes in ({"status": "disabled"}, {"role": "nurse"}):
        await doctors.follow_account(ctx, caller=ADMIN, account=account(**changes), name="王小明")
        assert offered(ctx) == []
        assert (await ctx.doctors.get("d1"))["online"] is False
    await doctors.follow_account(ctx, caller=ADMIN, account=account(), name="王大明")
    page = directory.doctor_page(ctx, "d1")
    assert (page["name"], page["services"], page["online"]) == ("王大明", ["consult", "followup"], False)
    acts = [step["act"] for step in (await doctors.one(ctx, "d1"))["history"]]
    assert acts == ["suspend", "resume", "change_name"]
    await doctors.follow_account(ctx, caller=ADMIN, account=account("nobody"), name="无")


@pytest.mark.gen_test
async def test_an_unknown_doctor_is_not_found(ctx):
    for asked in (doctors.one(ctx, "nobody"), change(ctx, "nobody", introduction="无")):
        with pytest.raises(NotFound):
            await asked
