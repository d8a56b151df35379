import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.tasks import spawn
from storage.indexes import INDEXES
from storage.migrations import LockLost, MigrationsBusy, migrate, steps
from storage.mongo import Store

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


class Step:
    """A migration that counts its runs and may be stopped in its middle."""

    def __init__(self):
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.failure = None

    async def up(self, store, context):
        await store.db["seeds"].update_one({"_id": "a"}, {"$set": {"by": context.holder}}, upsert=True)
        self.runs += 1
        self.begun.set()
        await self.gate.wait()
        if self.failure:
            raise self.failure


@pytest.fixture(autouse=True)
def empty(io_loop, store):
    io_loop.run_sync(lambda: store.db["migrations"].delete_many({}))


def now():
    return NOW


@pytest.mark.gen_test
async def test_steps_run_once_in_order_and_are_recorded(store):
    one, two = Step(), Step()
    plan = [("0001_one", one), ("0002_two", two)]
    assert await migrate(store, now=now, holder="p1", plan=plan) == ["0001_one", "0002_two"]
    assert await migrate(store, now=now, holder="p2", plan=plan) == []
    assert (one.runs, two.runs) == (1, 1)
    assert await store.db["migrations"].find().sort("_id", 1).to_list(None) == [
        {"_id": name, "at": NOW, "by": "p1", "took_ms": 0, "fingerprint": None} for name in ("0001_one", "0002_two")
    ]


@pytest.mark.gen_test
async def test_two_processes_at_once_run_each_step_once(store, mongo_uri, database, driver):
    other = await Store.open(mongo_uri, database, driver=driver)
    plan = [(f"{n:04}_x", Step()) for n in range(3)]
    done = await asyncio.gather(
        migrate(store, now=now, holder="p1", plan=plan), migrate(other, now=now, holder="p2", plan=plan)
    )
    assert sorted(done) == [[], ["0000_x", "0001_x", "0002_x"]]
    assert [step.runs for _, step in plan] == [1, 1, 1]
    await other.close()


@pytest.mark.gen_test
async def test_failing_step_stops_those_after_it_and_runs_again(store):
    plan = [("0001_one", Step()), ("0002_two", Step()), ("0003_three", Step())]
    plan[1][1].failure = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        await migrate(store, now=now, holder="p1", plan=plan)
    assert [step.runs for _, step in plan] == [1, 1, 0]
    plan[1][1].failure = None
    assert await migrate(store, now=now, holder="p2", plan=plan) == ["0002_two", "0003_three"]
    assert [step.runs for _, step in plan] == [1, 2, 1]


@pytest.mark.gen_test
async def test_crash_in_the_middle_is_resumed_when_its_lease_has_ended(store):
    step = Step()
    await store.db["migrations"].insert_one({"_id": "0001_one", "at": NOW, "fingerprint": None})
    await store.db["migrations"].insert_one({"_id": "lock", "holder": "dead", "until": NOW + timedelta(seconds=30)})
    plan = [("0001_one", Step()), ("0002_two", step)]
    with pytest.raises(MigrationsBusy):
        await migrate(store, now=now, holder="p1", plan=plan, wait_s=0)
    assert step.runs == 0
    later = NOW + timedelta(seconds=31)
    assert await migrate(store, now=lambda: later, holder="p1", plan=plan) == ["0002_two"]
    assert await store.db["migrations"].find_one({"_id": "lock"}) is None


@pytest.mark.gen_test
async def test_long_step_keeps_its_lease(store):
    step, renewed, asked = Step(), asyncio.Event(), []
    step.gate.clear()

    def passing():
        if step.begun.is_set():
            asked.append(NOW + timedelta(seconds=len(asked)))
            if len(asked) == 3:  # the renewal before has been stored by now
                renewed.set()
        return asked[-1] if asked else NOW

    running = spawn("migrate", migrate(store, now=passing, holder="p1", plan=[("0001_one", step)], lease_s=0.15))
    await renewed.wait()
    assert (await store.db["migrations"].find_one({"_id": "lock"}))["until"] > NOW + timedelta(seconds=1)
    step.gate.set()
    assert await running == ["0001_one"]


@pytest.mark.gen_test
async def test_step_whose_lock_was_taken_over_is_stopped_and_not_recorded(store):
    step = Step()
    step.gate.clear()
    running = spawn("migrate", migrate(store, now=now, holder="p1", plan=[("0001_one", step)], lease_s=0.15))
    await step.begun.wait()
    await store.db["migrations"].update_one({"_id": "lock"}, {"$set": {"holder": "p2"}})
    with pytest.raises(LockLost):
        await running
    assert await store.db["migrations"].find_one({"_id": "0001_one"}) is None
    assert (await store.db["migrations"].find_one({"_id": "lock"}))["holder"] == "p2"


@pytest.mark.gen_test
async def test_step_with_a_fingerprint_runs_again_when_it_changes(store):
    step = Step()
    step.fingerprint = lambda: "a"
    plan = [("0001_indexes", step)]
    assert await migrate(store, now=now, holder="p1", plan=plan) == ["0001_indexes"]
    assert await migrate(store, now=now, holder="p1", plan=plan) == []
    step.fingerprint = lambda: "b"
    assert await migrate(store, now=now, holder="p1", plan=plan) == ["0001_indexes"]


@pytest.mark.gen_test(timeout=20)
async def test_empty_database_gets_every_index(store):
    assert await migrate(store, now=now, holder="p1") == [name for name, _ in steps()]
    made = await store.db["visits"].index_information()
    assert len(made) == 1 + len(INDEXES["visits"])


def test_steps_are_numbered_without_gaps():
    assert [int(name[:4]) for name, _ in steps()] == list(range(1, len(steps()) + 1))
