import asyncio
from dataclasses import replace

import pytest

from core.backoffice import settings
from core.backoffice.live import LiveSettings
from core.errors import Conflict, Forbidden, Invalid
from core.policy import Policy
from storage.settings_changes import SettingsChangeRepository
from tests.core.partial import caller_of, let_down, lift

ADMIN = caller_of("admin", "office")


@pytest.fixture
def office(io_loop, ctx, store, hospital):
    """The hospital's context with numbers of its own."""
    io_loop.run_sync(lambda: store.db["settings_changes"].delete_many({}))
    changes = SettingsChangeRepository(store)
    numbers = LiveSettings(Policy(patients_per_account=8), changes, ctx.bus)
    return replace(hospital.ctx, clock=ctx.clock, policy=numbers.policy, settings=numbers, settings_changes=changes)


async def change(office, **values):
    return {one["name"]: one for one in await settings.change(office, caller=ADMIN, values=values)}


@pytest.mark.gen_test
async def test_the_table_says_what_holds_and_where_it_comes_from(office):
    rows = await change(office, visits_per_hour=7)
    assert rows["visits_per_hour"] == {
        "name": "visits_per_hour",
        "title": "每个账号每小时提交问诊次数",
        "value": 7,
        "default": 30,
        "environment": 30,
        "low": 1,
        "high": 10_000,
        "meaning": "visits an account may open in an hour",
        "rule": None,
        "settable": True,
        "source": "office",
    }
    assert (rows["patients_per_account"]["value"], rows["patients_per_account"]["source"]) == (8, "environment")
    assert (rows["child_years"]["source"], rows["child_years"]["rule"]) == ("default", "R3-3")
    assert rows["heartbeat_seconds"]["settable"] is False


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_history_says_who_changed_what_from_what_to_what(office):
    for values in ({"visits_per_hour": 7, "uploads_per_hour": 9}, {"visits_per_hour": 8}, {"visits_per_hour": None}):
        await change(office, **values)
        office.clock.step(60)
    first = await settings.history(office, limit=2, cursor=None)
    rest = await settings.history(office, limit=2, cursor=first["next_cursor"])
    found = [
        [(step["name"], step["frm"], step["to"]) for step in one["steps"]] for one in first["items"] + rest["items"]
    ]
    assert found == [
        [("visits_per_hour", 8, None)],
        [("visits_per_hour", 7, 8)],
        [("uploads_per_hour", None, 9), ("visits_per_hour", None, 7)],
    ]
    assert {(one["actor"], one["role"]) for one in first["items"]} == {("office", "admin")}
    assert (office.policy.visits_per_hour, office.policy.uploads_per_hour) == (30, 9)
    assert rest["next_cursor"] is None


@pytest.mark.gen_test
async def test_all_or_none_and_nothing_is_written_on_a_refusal(office):
    for values in (
        {"visits_per_hour": 7, "retain_record_years": 1},
        {"consult_fee_low": 400, "consult_fee_high": 300},
        {"nothing": 1},
    ):
        with pytest.raises(Invalid):
            await change(office, **values)
    assert (await office.settings_changes.last(), office.policy.visits_per_hour) == (None, 30)
    with pytest.raises(Invalid):
        await settings.history(office, limit=2, cursor="x")


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_number_that_the_law_bounds_asks_for_a_fresh_proof(office):
    await let_down(office, ADMIN)
    with pytest.raises(Forbidden) as refused:
        await change(office, visits_per_hour=7, password_tries=4)
    assert refused.value.code == "elevation_required"
    assert (await office.settings_changes.last(), office.policy.visits_per_hour) == (None, 30)
    await lift(office, ADMIN)
    assert (await change(office, visits_per_hour=7, password_tries=4))["password_tries"]["value"] == 4
    await let_down(office, ADMIN)
    await change(office, visits_per_hour=8)
    with pytest.raises(Forbidden):
        await change(office, password_tries=None)


@pytest.mark.gen_test
async def test_what_already_is_so_is_no_change(office):
    await change(office, visits_per_hour=7)
    await change(office, visits_per_hour=7, uploads_per_hour=None)
    assert office.settings.number == 1


@pytest.mark.gen_test
async def test_of_two_changes_at_once_none_is_lost_unnoticed(office):
    outcomes = await asyncio.gather(
        *(change(office, visits_per_hour=number) for number in range(10, 20)), return_exceptions=True
    )
    made = [one for one in outcomes if isinstance(one, dict)]
    assert {type(one) for one in outcomes} <= {dict, Conflict}
    assert office.settings.number == len(made) >= 1
    last = await office.settings_changes.last()
    assert office.policy.visits_per_hour == last["values"]["visits_per_hour"]
