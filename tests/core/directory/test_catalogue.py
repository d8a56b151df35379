import asyncio
from datetime import date

import pytest

from core import tasks
from core.directory.catalogue import Catalogue, Wanted, title_name
from core.errors import Invalid
from storage.bus import Bus
from storage.doctors import DoctorRepository
from tests.core.partial import a_department, a_doctor, catalogue_over, register_doctors

TODAY = date(2026, 11, 2)


def names(catalogue: Catalogue, limit: int = 50, cursor: str | None = None, **wanted) -> list[str]:
    found = catalogue.find(Wanted(**wanted), today=TODAY, limit=limit, cursor=cursor)
    return [listed.doctor["name"] for listed in found.doctors]


@pytest.mark.gen_test
async def test_better_matches_come_first(ctx):
    await register_doctors(
        ctx,
        a_doctor("a", name="赵一", introduction="曾师从高明"),
        a_doctor("b", name="钱二", skills=["高明疗法"]),
        a_doctor("c", name="高明"),
        a_doctor("d", name="高明亮"),
        a_doctor("e", name="孙三"),
    )
    assert names(ctx.catalogue, text="高明") == ["高明", "高明亮", "钱二", "赵一"]


@pytest.mark.gen_test
async def test_equals_are_ordered_by_title_then_id(ctx):
    await register_doctors(
        ctx,
        a_doctor("c", name="丙", title="231"),
        a_doctor("b", name="乙", title="233"),
        a_doctor("a", name="甲", title="233"),
    )
    assert names(ctx.catalogue) == ["丙", "甲", "乙"]


@pytest.mark.gen_test
async def test_pages_follow_each_other_without_holes_or_repeats(ctx):
    await register_doctors(ctx, *(a_doctor(f"d{number}", name=f"医生{number}") for number in range(7)))
    seen, cursor = [], None
    for size in (3, 3, 1):
        found = ctx.catalogue.find(Wanted(text="医生"), today=TODAY, limit=3, cursor=cursor)
        assert len(found.doctors) == size
        seen += [listed.doctor["_id"] for listed in found.doctors]
        cursor = found.cursor
    assert (seen, cursor) == ([f"d{number}" for number in range(7)], None)


@pytest.mark.gen_test
async def test_doctor_who_goes_online_between_two_pages_moves_nobody(ctx):
    await register_doctors(ctx, *(a_doctor(f"d{number}", name=f"医生{number}") for number in range(4)))
    first = ctx.catalogue.find(Wanted(), today=TODAY, limit=2, cursor=None)
    await ctx.doctors.set_online("d3", True, at=ctx.clock.now())
    await ctx.catalogue.changed("d3")
    assert names(ctx.catalogue, cursor=first.cursor) == ["医生2", "医生3"]


@pytest.mark.parametrize("cursor", ["x", "e30", "WzEsMl0", "WyJhIiwiYiIsImMiXQ", "é", "bnVsbA"])
@pytest.mark.gen_test
async def test_cursor_that_is_not_ours_is_refused(ctx, cursor):
    with pytest.raises(Invalid) as refused:
        ctx.catalogue.find(Wanted(), today=TODAY, limit=2, cursor=cursor)
    assert list(refused.value.errors) == ["cursor"]


@pytest.mark.parametrize(("department", "found"), [("cardiology", 1), ("03.04", 1), ("03", 1), ("0", 0), ("03.0", 0)])
@pytest.mark.gen_test
async def test_department_is_found_by_id_by_code_and_by_the_code_above(ctx, department, found):
    await register_doctors(ctx, a_doctor("a"), a_doctor("b", department_id="dermatology"))
    assert len(names(ctx.catalogue, department=department)) == found


@pytest.mark.gen_test
async def test_service_and_online_state_narrow_the_list(ctx):
    await register_doctors(
        ctx,
        a_doctor("a", name="甲", services=["consult"], online=True),
        a_doctor("b", name="乙", services=["followup"]),
    )
    assert names(ctx.catalogue, service="consult") == ["甲"]
    assert names(ctx.catalogue, service="followup") == ["乙"]
    assert names(ctx.catalogue, online=True) == ["甲"]
    assert names(ctx.catalogue, online=False) == ["乙"]


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test
async def test_doctor_leaves_the_list_the_day_after_the_licence_ends(ctx):
    await register_doctors(ctx, a_doctor("a", licence_valid_to="2026-11-02"))
    for day, found in ((date(2026, 11, 2), 1), (date(2026, 11, 3), 0)):
        assert len(ctx.catalogue.find(Wanted(), today=day, limit=5, cursor=None).doctors) == found
        assert ctx.catalogue.count("cardiology", day) == found


@pytest.mark.gen_test
async def test_departments_are_in_the_hospital_s_order(ctx):
    await ctx.departments.add(a_department("b", order=1))
    await ctx.departments.add(a_department("a", order=2))
    await ctx.catalogue.changed()
    assert [one["_id"] for one in ctx.catalogue.departments()] == ["b", "a"]


class Reading(DoctorRepository):
    """Tells when doctors have been read."""

    def __init__(self, store) -> None:
        super().__init__(store)
        self.one, self.all = asyncio.Event(), asyncio.Event()

    async def get(self, id_):
        found = await super().get(id_)
        self.one.set()
        return found

    async def every(self):
        found = await super().every()
        self.all.set()
        return found


async def settled(catalogue: Catalogue, read: asyncio.Event) -> None:
    """What was read has been taken in: a refresh waits for its turn and then has nothing to do."""
    await asyncio.wait_for(read.wait(), 5)
    await catalogue.refresh()


@pytest.mark.gen_test
async def test_change_is_told_to_every_process(ctx, redis):
    await register_doctors(ctx, a_doctor("a"))
    here, there = Bus(redis, "here", prefix="catalogue"), Bus(redis, "there", prefix="catalogue")
    await here.start()
    await there.start()
    doctors = Reading(ctx.store)
    mine, others = catalogue_over(ctx.store, here, ctx.policy), catalogue_over(ctx.store, there, ctx.policy, doctors)
    await mine.start(poll_seconds=60)
    await others.start(poll_seconds=60)
    try:
        await ctx.doctors.set_online("a", True, at=ctx.clock.now())
        await mine.changed("a")
        assert mine.doctor("a").doctor["online"] is True
        await settled(others, doctors.one)
        assert others.doctor("a").doctor["online"] is True
    finally:
        await mine.stop()
        await others.stop()
        await here.stop()
        await there.stop()


@pytest.mark.gen_test
async def test_process_that_was_not_told_sees_the_count(ctx, redis):
    doctors = Reading(ctx.store)
    other = catalogue_over(ctx.store, Bus(redis, "deaf"), ctx.policy, doctors)
    keepers = tasks.running().count("directory.keep_fresh")
    await other.start(poll_seconds=0.01)
    try:
        doctors.all.clear()
        await register_doctors(ctx, a_doctor("a"))
        await settled(other, doctors.all)
        assert other.doctor("a") is not None
        assert tasks.running().count("directory.keep_fresh") == keepers + 1
    finally:
        await other.stop()
    assert tasks.running().count("directory.keep_fresh") == keepers


@pytest.mark.gen_test
async def test_count_that_has_not_moved_reads_nothing(ctx):
    await register_doctors(ctx, a_doctor("a"))
    await ctx.doctors.add(a_doctor("b"))
    await ctx.catalogue.refresh()
    assert ctx.catalogue.doctor("b") is None


@pytest.mark.gen_test
async def test_missed_changes_of_others_are_read_with_the_next_one(ctx):
    await register_doctors(ctx, a_doctor("a"), a_doctor("b"))
    other = catalogue_over(ctx.store, ctx.bus, ctx.policy)
    await other.load()
    await ctx.doctors.set_online("a", True, at=ctx.clock.now())
    await ctx.catalogue.changed("a")
    await ctx.doctors.set_online("b", True, at=ctx.clock.now())
    await other.changed("b")
    assert [other.doctor(id_).doctor["online"] for id_ in ("a", "b")] == [True, True]


def test_titles_have_their_official_names():
    assert (title_name("231"), title_name("000")) == ("主任医师", "000")
