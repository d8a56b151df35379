import asyncio
from dataclasses import replace

import pytest

from core.backoffice import live
from core.backoffice.live import LiveSettings, effective
from core.policy import LivePolicy, Policy
from storage.bus import Bus
from storage.settings_changes import SettingsChangeRepository
from tests.core.partial import NOW

BASE = Policy(patients_per_account=8)


def change(number, **values):
    return {"_id": number, "steps": [], "values": values, "actor": "office", "role": "admin", "at": NOW}


@pytest.fixture
def changes(io_loop, store):
    io_loop.run_sync(lambda: store.db["settings_changes"].delete_many({}))
    return SettingsChangeRepository(store)


@pytest.fixture
def two(io_loop, changes, redis):
    """Two processes of one hospital, that look at the store by themselves only after a minute."""
    begun = []

    async def begin(name):
        bus = Bus(redis, name)
        await bus.start()
        settings = LiveSettings(BASE, changes, bus)
        await settings.start(poll_seconds=60)
        begun.append((settings, bus))
        return settings

    yield [io_loop.run_sync(lambda name=name: begin(name)) for name in ("one", "two")]
    for settings, bus in begun:
        io_loop.run_sync(settings.stop)
        io_loop.run_sync(bus.stop)


@pytest.mark.gen_test
async def test_a_change_in_one_process_is_in_force_in_the_other_through_the_object_everybody_holds(changes, two):
    here, there = two
    held = there.policy
    arrived = asyncio.Event()
    there.on_change.append(arrived.set)
    made = change(1, visits_per_hour=7)
    await changes.add(made)
    await here.changed(made)
    assert here.policy.visits_per_hour == 7
    await asyncio.wait_for(arrived.wait(), 5)
    assert (held.visits_per_hour, held.patients_per_account, there.number) == (7, 8, 1)


@pytest.mark.gen_test
async def test_what_is_taken_back_is_the_environments_again(changes, two):
    here, _ = two
    for number, values in ((1, {"patients_per_account": 3}), (2, {})):
        await changes.add(change(number, **values))
        await here.refresh()
        assert here.policy.patients_per_account == values.get("patients_per_account", 8)


@pytest.mark.gen_test
async def test_an_older_change_that_arrives_late_changes_nothing(two):
    here, _ = two
    await here.changed(change(2, visits_per_hour=9))
    await here.changed(change(1, visits_per_hour=5))
    assert (here.policy.visits_per_hour, here.number) == (9, 2)


@pytest.mark.gen_test
async def test_a_process_that_was_not_told_looks_for_itself(changes, redis):
    settings = LiveSettings(BASE, changes, Bus(redis, "deaf"))
    seen = asyncio.Event()
    settings.on_change.append(seen.set)
    await settings.start(poll_seconds=0.01)
    await changes.add(change(1, visits_per_hour=4))
    await asyncio.wait_for(seen.wait(), 5)
    await settings.stop()
    assert settings.policy.visits_per_hour == 4


@pytest.mark.gen_test
async def test_a_process_starts_with_what_the_office_set(changes, redis):
    await changes.add(change(1, visits_per_hour=4))
    settings = LiveSettings(BASE, changes, Bus(redis, "late"))
    await settings.start(poll_seconds=60)
    await settings.stop()
    assert (settings.policy.visits_per_hour, settings.values) == (4, {"visits_per_hour": 4})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"visits_per_hour": 5}, {"visits_per_hour": 5}),
        ({"gone": 5, "retain_record_years": 1, "visits_per_hour": 5}, {"visits_per_hour": 5}),
        ({"consult_fee_low": 60_000, "visits_per_hour": 5}, {"visits_per_hour": 5}),
        ({"heartbeat_seconds": 10}, {}),
    ],
)
def test_what_this_version_does_not_allow_is_left_out(values, expected):
    assert effective(BASE, values) == replace(BASE, **expected)


def test_reading_a_live_policy_is_reading_a_policy():
    policy = LivePolicy()
    policy.take(Policy(visits_per_hour=7))
    assert isinstance(policy, Policy)
    assert vars(policy) == vars(Policy(visits_per_hour=7))
    assert live.POLL_SECONDS < 5
