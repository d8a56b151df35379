import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import structlog
from pymongo.errors import AutoReconnect

from core import jobs, metrics, tasks
from core.jobs import BESIDE, DUTY_TIMEOUT_SECONDS, GRACE, LEASE, SWEEP_AGAIN, DutyRunner
from core.outbox import BACKOFF, MAX_ATTEMPTS, Later
from core.ports import Rejected, Unavailable
from storage.indexes import MOVING, ensure_indexes
from storage.moves import Duty, Moving, duty
from tests.clock import SettableClock

SECONDS = 5


@dataclass
class PartialContext:
    """What the runner and these duties use of `core.context.Context`."""

    clock: Any = field(default_factory=SettableClock)
    ran: list[str] = field(default_factory=list)
    does: dict[str, Callable[[], Any]] = field(default_factory=dict)
    duties: Any = None


async def work(ctx, document) -> None:
    """Each document of these tests says in `does` what happens when one of its duties runs."""
    ctx.ran.append(document["_id"])
    done = ctx.does.get(document["_id"], lambda: None)()
    if done is not None:
        await done


async def second(ctx, document) -> None:
    ctx.ran.append(f"{document['_id']} second")


async def sweep(ctx, document) -> None:
    ctx.ran.append(f"{document['_id']} deadline")
    done = ctx.does.get(document["_id"], lambda: None)()
    if done is not None:
        await done


@pytest.fixture(autouse=True)
def logs():
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    table = {"things": list(MOVING), "parcels": list(MOVING)}
    io_loop.run_sync(lambda: ensure_indexes(store, table))
    return store


@pytest.fixture
def ctx():
    return PartialContext()


@pytest.fixture
def things(io_loop, indexed):
    for name in ("things", "parcels"):
        io_loop.run_sync(lambda name=name: indexed.db[name].delete_many({}))
    return Moving(indexed.db["things"])


@pytest.fixture
def runner(ctx, things, indexed):
    return a_runner(ctx, things, Moving(indexed.db["parcels"]))


def a_runner(ctx, things, parcels) -> DutyRunner:
    made = DutyRunner({"work": work, "second": second}, {"things": sweep})
    made.bind(ctx, {"things": things, "parcels": parcels})
    return made


@pytest.mark.gen_test
async def test_what_is_owed_is_counted_by_kind_over_all_collections_and_back_to_nought(ctx, things, runner, indexed):
    parcels = Moving(indexed.db["parcels"])
    late = ctx.clock.now() - timedelta(minutes=5)
    await add(things, ctx, "a", "work", "second", next_at=late)
    await add(parcels, ctx, "b", "work")
    await add(things, ctx, "c", "work", state="dead", next_at=None)
    await runner.count()
    assert owed("work") == (2, 1, 300)
    assert owed("second") == (1, 0, 300)
    for name in ("things", "parcels"):
        await indexed.db[name].delete_many({})
    await jobs.count_owed(PartialContext(duties=runner))
    assert owed("work") == owed("second") == (0, 0, 0)


def owed(kind: str) -> tuple[float, float, float]:
    """How many wait, how many were given up, and for how many seconds the oldest has been due."""
    gauges = (metrics.DUTIES_WAITING, metrics.DUTIES_LEFT, metrics.DUTIES_LATE)
    waiting, left, late = (gauge.labels(kind)._value.get() for gauge in gauges)
    return waiting, left, round(late)


async def add(things, ctx, id_="a", *kinds: str, deadline_at=None, **changes: Any) -> None:
    duties = [duty(kind, id_, number, ctx.clock.now()) | changes for number, kind in enumerate(kinds)]
    document = {"_id": id_, "status": "open", "version": 1, "history": [], "duties": duties, "deadline_at": deadline_at}
    await things._docs.insert_one(document)


async def duties_of(things, id_="a") -> list[Duty]:
    return (await things.get(id_))["duties"]


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def counted(kind: str, outcome: str) -> float:
    return metrics.DUTIES.labels(kind, outcome)._value.get()


# --- duties


@pytest.mark.gen_test
async def test_a_due_duty_is_run_and_taken_away(ctx, things, runner):
    before = counted("work", "done")
    await add(things, ctx, "a", "work")
    assert await runner.run_due() == 1
    assert (ctx.ran, await duties_of(things)) == (["a"], [])
    assert await runner.run_due() == 0
    assert counted("work", "done") == before + 1


@pytest.mark.gen_test
async def test_duties_of_one_document_run_in_their_order_and_only_after_each_other(ctx, things, runner):
    await add(things, ctx, "a", "work", "second")
    ctx.does["a"] = raising(Unavailable("gateway"))
    assert [await runner.run_due() for _ in range(2)] == [1, 0]
    assert ctx.ran == ["a"]
    ctx.clock.step(BACKOFF[0])
    ctx.does.clear()
    assert [await runner.run_due() for _ in range(3)] == [1, 1, 0]
    assert ctx.ran == ["a", "a", "a second"]
    assert await duties_of(things) == []


@pytest.mark.gen_test
async def test_a_duty_of_the_future_waits(ctx, things, runner):
    await add(things, ctx, "a", "work", next_at=ctx.clock.now() + timedelta(seconds=10))
    assert await runner.run_due() == 0
    ctx.clock.step(10)
    assert await runner.run_due() == 1


@pytest.mark.gen_test
async def test_a_fresh_duty_is_left_for_a_while_to_the_process_that_wrote_it(ctx, things, runner):
    await add(things, ctx, "a", "work")
    assert await runner.run_due(grace=GRACE) == 0
    ctx.clock.step(GRACE.total_seconds())
    assert (await runner.run_due(grace=GRACE), ctx.ran) == (1, ["a"])


@pytest.mark.gen_test
async def test_of_two_runners_one_runs_a_duty(ctx, things, runner, indexed):
    other = a_runner(ctx, things, Moving(indexed.db["parcels"]))
    for n in range(20):
        await add(things, ctx, f"t{n:02}", "work")
    ran = await asyncio.gather(runner.run_due(), other.run_due(), runner.run_now("things", "t00"))
    assert sorted(ctx.ran) == [f"t{n:02}" for n in range(20)]
    assert 19 <= ran[0] + ran[1] <= 20


@pytest.mark.gen_test
async def test_a_duty_that_is_being_run_is_left_alone_until_its_lease_ends(ctx, things, runner):
    """A runner that died holds its duty no longer than its lease."""
    await add(things, ctx, "a", "work")
    [owed] = await duties_of(things)
    now = ctx.clock.now()
    await things.lease("a", owed["key"], seen_next_at=owed["next_at"], token="dead", until=now + LEASE)
    ctx.clock.step(LEASE.total_seconds() - 1)
    assert await runner.run_due() == 0
    ctx.clock.step(1)
    assert (await runner.run_due(), ctx.ran, await duties_of(things)) == (1, ["a"], [])


@pytest.mark.gen_test
async def test_a_clock_set_back_delays_what_a_dead_runner_held_and_nothing_more(ctx, things, runner):
    await add(things, ctx, "a", "work")
    [owed] = await duties_of(things)
    until = ctx.clock.now() + LEASE
    await things.lease("a", owed["key"], seen_next_at=owed["next_at"], token="dead", until=until)
    ctx.clock.step(-600)
    assert (await runner.run_due(), ctx.ran) == (0, [])
    ctx.clock.step(600 + LEASE.total_seconds())
    assert (await runner.run_due(), ctx.ran, await duties_of(things)) == (1, ["a"], [])


@pytest.mark.gen_test
async def test_a_clock_that_jumps_ahead_ends_a_lease_and_the_duty_is_taken_away_by_its_new_holder(ctx, things, runner):
    """Both run it, which is why duties are safe to repeat; the first one's end changes nothing any more."""
    await add(things, ctx, "a", "work", "second")
    begun, let_go = asyncio.Event(), asyncio.Event()
    ctx.does["a"] = lambda: (begun.set(), let_go.wait())[1]
    slow = tasks.spawn("test.runner", runner.run_due())
    await asyncio.wait_for(begun.wait(), SECONDS)
    ctx.clock.step(600)
    ctx.does.clear()
    assert await runner.run_due() == 1
    assert [owed["kind"] for owed in await duties_of(things)] == ["second"]
    let_go.set()
    await slow
    assert [owed["kind"] for owed in await duties_of(things)] == ["second"]
    assert (await runner.run_due(), await duties_of(things)) == (1, [])
    assert ctx.ran == ["a", "a", "a second"]


@pytest.mark.gen_test
async def test_a_runner_stopped_in_the_middle_leaves_the_duty_to_others(ctx, things, runner):
    await add(things, ctx, "a", "work")
    begun = asyncio.Event()
    ctx.does["a"] = lambda: (begun.set(), asyncio.Event().wait())[1]
    ctx.clock.step(GRACE.total_seconds())
    running = tasks.spawn("test.runner", runner.run_forever())
    try:
        await asyncio.wait_for(begun.wait(), SECONDS)
    finally:
        await tasks.stop(running)
    [owed] = await duties_of(things)
    assert (owed["attempts"], owed["state"]) == (1, "due")
    ctx.does.clear()
    ctx.clock.step(LEASE.total_seconds())
    assert (await runner.run_due(), await duties_of(things)) == (1, [])


@pytest.mark.gen_test(timeout=20)
async def test_a_failing_duty_is_tried_further_and_further_apart_and_at_last_given_to_a_person(
    ctx, things, runner, logs
):
    await add(things, ctx, "a", "work", "second")
    ctx.does["a"] = raising(ValueError("a bug"))
    pauses = []
    for _ in range(MAX_ATTEMPTS - 1):
        assert await runner.run_due() == 1
        owed = (await duties_of(things))[0]
        assert (owed["state"], owed["lease"], owed["error"]) == ("due", None, "ValueError")
        pause = (owed["next_at"] - ctx.clock.now()).total_seconds()
        ctx.clock.step(pause - 0.001)
        assert await runner.run_due() == 0
        ctx.clock.step(0.001)
        pauses.append(pause)
    assert pauses == [*BACKOFF, *[BACKOFF[-1]] * (MAX_ATTEMPTS - 1 - len(BACKOFF))]
    dead = metrics.DUTIES_DEAD.labels("work")._value.get()
    assert await runner.run_due() == 1
    owed = (await duties_of(things))[0]
    assert (owed["state"], owed["next_at"], owed["attempts"], owed["error"]) == (
        "dead",
        None,
        MAX_ATTEMPTS,
        "ValueError",
    )
    assert metrics.DUTIES_DEAD.labels("work")._value.get() == dead + 1
    assert len(ctx.ran) == MAX_ATTEMPTS
    assert [line["event"] for line in logs].count("duty.dead") == 1
    assert await runner.run_due() == 1
    assert ctx.ran[-1] == "a second"


@pytest.mark.gen_test
async def test_a_refusal_is_given_to_a_person_at_once(ctx, things, runner):
    await add(things, ctx, "a", "work")
    ctx.does["a"] = raising(Rejected("ABNORMAL"))
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (owed["state"], owed["error"], owed["attempts"]) == ("dead", "rejected ABNORMAL", 1)
    ctx.clock.step(10**6)
    assert (await runner.run_due(), ctx.ran) == (0, ["a"])
    assert await things.revive("a", owed["key"], at=ctx.clock.now())
    ctx.does.clear()
    assert (await runner.run_due(), await duties_of(things)) == (1, [])


@pytest.mark.gen_test
async def test_later_is_no_failure_however_often(ctx, things, runner):
    await add(things, ctx, "a", "work")
    ctx.does["a"] = raising(Later(30))
    for _ in range(MAX_ATTEMPTS + 2):
        assert await runner.run_due() == 1
        [owed] = await duties_of(things)
        assert (owed["attempts"], owed["error"], owed["state"]) == (0, "", "due")
        assert owed["next_at"] == ctx.clock.now() + timedelta(seconds=30)
        ctx.clock.step(30)


@pytest.mark.gen_test
async def test_later_at_once_does_not_spin(ctx, things, runner):
    await add(things, ctx, "a", "work")
    ctx.does["a"] = raising(Later(0))
    await asyncio.wait_for(runner.run_now("things", "a"), SECONDS)
    assert ctx.ran == ["a"]


@pytest.mark.gen_test
async def test_a_kind_nobody_knows_is_told_of_and_at_last_given_to_a_person(ctx, things, runner, logs):
    """Not at once: while versions change, a runner of the other version may know it."""
    await add(things, ctx, "a", "unheard")
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (owed["state"], owed["error"]) == ("due", "UnknownDuty")
    [line] = [line for line in logs if line["event"] == "duty.failed"]
    assert (line["log_level"], line["kind"], line["error"]) == ("error", "unheard", "UnknownDuty")
    await things._docs.update_one({"_id": "a"}, {"$set": {"duties.0.attempts": MAX_ATTEMPTS - 1}})
    ctx.clock.step(BACKOFF[0])
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (owed["state"], owed["error"]) == ("dead", "UnknownDuty")


@pytest.mark.gen_test
async def test_a_duty_whose_runners_die_each_time_is_not_tried_for_ever(ctx, things, runner):
    await add(things, ctx, "a", "work", attempts=MAX_ATTEMPTS)
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (ctx.ran, owed["state"], owed["error"]) == ([], "dead", "its runners died")


@pytest.mark.gen_test
async def test_a_duty_that_hangs_is_given_up_before_its_lease_ends(ctx, things, runner, monkeypatch):
    assert LEASE.total_seconds() > DUTY_TIMEOUT_SECONDS
    monkeypatch.setattr(jobs, "DUTY_TIMEOUT_SECONDS", 0.02)
    await add(things, ctx, "a", "work")
    ctx.does["a"] = lambda: asyncio.Event().wait()
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (owed["error"], owed["lease"]) == ("TimeoutError", None)
    assert owed["next_at"] == ctx.clock.now() + timedelta(seconds=BACKOFF[0])


@pytest.mark.gen_test
async def test_a_document_that_hangs_holds_up_no_other(ctx, things, runner):
    let_go = asyncio.Event()
    for n in range(BESIDE - 1):
        await add(things, ctx, f"a{n}", "work")
        ctx.does[f"a{n}"] = let_go.wait
    other = asyncio.Event()
    for n in range(3):
        await add(things, ctx, f"b{n}", "work")
    ctx.does["b2"] = other.set
    running = tasks.spawn("test.runner", runner.run_due())
    await asyncio.wait_for(other.wait(), SECONDS)
    assert not running.done()
    let_go.set()
    assert await running == BESIDE - 1 + 3


@pytest.mark.gen_test
async def test_no_more_than_a_few_run_beside_each_other(ctx, things, runner):
    let_go, inside, most = asyncio.Event(), 0, 0

    async def enter() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == BESIDE:
            let_go.set()
        await let_go.wait()
        inside -= 1

    for n in range(BESIDE * 2):
        await add(things, ctx, f"a{n:02}", "work")
        ctx.does[f"a{n:02}"] = enter
    assert await runner.run_due() == BESIDE * 2
    assert most == BESIDE


@pytest.mark.gen_test
async def test_a_duty_that_cancels_itself_ends_neither_the_runner_nor_the_duty(ctx, things, runner):
    await add(things, ctx, "a", "work")
    await add(things, ctx, "b", "work")
    ctx.does["a"] = raising(asyncio.CancelledError())
    assert await runner.run_due() == 1
    [owed] = await duties_of(things)
    assert (sorted(ctx.ran), owed["state"], await duties_of(things, "b")) == (["a", "b"], "due", [])


@pytest.mark.gen_test
async def test_all_collections_are_looked_after(ctx, things, runner, indexed):
    parcels = Moving(indexed.db["parcels"])
    await add(things, ctx, "a", "work")
    await add(parcels, ctx, "p", "work")
    assert await runner.run_due() == 2
    assert sorted(ctx.ran) == ["a", "p"]


# --- at once


@pytest.mark.gen_test
async def test_run_now_runs_what_one_document_owes_and_nothing_else(ctx, things, runner):
    await add(things, ctx, "a", "work", "second")
    await add(things, ctx, "b", "work")
    await runner.run_now("things", "a")
    assert (ctx.ran, await duties_of(things)) == (["a", "a second"], [])
    await runner.run_now("things", "nobody")
    assert len(await duties_of(things, "b")) == 1


@pytest.mark.gen_test
async def test_run_now_leaves_failures_to_the_worker(ctx, things, runner):
    await add(things, ctx, "a", "work", "second")
    ctx.does["a"] = raising(Unavailable("gateway"))
    await runner.run_now("things", "a")
    assert (ctx.ran, len(await duties_of(things))) == (["a"], 2)


@pytest.mark.gen_test
async def test_run_now_does_not_fail_its_caller_when_the_store_goes_away(ctx, things, runner, monkeypatch, logs):
    await add(things, ctx, "a", "work")

    async def away(*_, **__):
        raise AutoReconnect("gone")

    monkeypatch.setattr(things, "lease", away)
    await runner.run_now("things", "a")
    assert [(line["event"], line["log_level"]) for line in logs] == [("duties.store_away", "warning")]
    monkeypatch.undo()
    assert (await runner.run_due(), ctx.ran) == (1, ["a"])


@pytest.mark.gen_test
async def test_kick_runs_beside_the_caller(ctx, things, runner):
    await add(things, ctx, "a", "work")
    done = asyncio.Event()
    ctx.does["a"] = done.set
    runner.kick("things", "a")
    assert ctx.ran == []
    await asyncio.wait_for(done.wait(), SECONDS)
    assert ctx.ran == ["a"]


@pytest.mark.gen_test
async def test_a_runner_without_a_context_says_so():
    with pytest.raises(RuntimeError):
        DutyRunner({}, {}).ctx  # noqa: B018 -- the property raises


# --- deadlines


@pytest.mark.gen_test
async def test_a_deadline_is_swept_when_it_has_come(ctx, things, runner):
    swept = metrics.SWEPT.labels("things")._value.get()
    at = ctx.clock.now() + timedelta(seconds=10)
    await add(things, ctx, "a", deadline_at=at)
    ctx.does["a"] = lambda: things.note("a", deadline_at=None)
    assert (await runner.run_due(), ctx.ran) == (0, [])
    ctx.clock.step(10)
    assert (await runner.run_due(), ctx.ran) == (1, ["a deadline"])
    assert (await runner.run_due(), ctx.ran) == (0, ["a deadline"])
    assert metrics.SWEPT.labels("things")._value.get() == swept + 1


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", [ValueError("a bug"), Unavailable("gateway"), None])
async def test_a_deadline_that_stands_after_its_sweep_is_looked_at_again_in_a_minute(ctx, things, runner, fault):
    """It would be the first of every pass, and enough of them would hold up all others."""
    await add(things, ctx, "a", deadline_at=ctx.clock.now())
    if fault is not None:
        ctx.does["a"] = raising(fault)
    assert await runner.run_due() == 0
    assert (await things.get("a"))["deadline_at"] == ctx.clock.now() + SWEEP_AGAIN
    assert (await runner.run_due(), ctx.ran) == (0, ["a deadline"])
    ctx.clock.step(SWEEP_AGAIN.total_seconds())
    await runner.run_due()
    assert ctx.ran == ["a deadline", "a deadline"]


@pytest.mark.gen_test
async def test_a_deadline_moved_by_its_sweep_is_kept(ctx, things, runner):
    later = ctx.clock.now() + timedelta(hours=5)
    await add(things, ctx, "a", deadline_at=ctx.clock.now())
    ctx.does["a"] = lambda: things.note("a", deadline_at=later)
    await runner.run_due()
    assert (await things.get("a"))["deadline_at"] == later


@pytest.mark.gen_test
async def test_a_collection_without_a_sweep_keeps_its_deadlines(ctx, things, runner, indexed):
    parcels = Moving(indexed.db["parcels"])
    await add(parcels, ctx, "p", deadline_at=ctx.clock.now())
    assert (await runner.run_due(), ctx.ran) == (0, [])
    assert (await parcels.get("p"))["deadline_at"] == ctx.clock.now()


# --- the loop


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", [AutoReconnect("gone"), ValueError("a bug")])
async def test_the_worker_outlives_every_fault_of_a_pass(ctx, things, runner, monkeypatch, logs, fault):
    due, done = things.due, asyncio.Event()
    faults = [fault]

    async def failing_once(*asked):
        if faults:
            raise faults.pop()
        return await due(*asked)

    monkeypatch.setattr(things, "due", failing_once)
    await add(things, ctx, "a", "work")
    ctx.does["a"] = done.set
    ctx.clock.step(GRACE.total_seconds())
    running = tasks.spawn("test.runner", runner.run_forever(pause_seconds=0.01))
    try:
        await asyncio.wait_for(done.wait(), SECONDS)
    finally:
        await tasks.stop(running)
    assert logs[0]["event"] == ("worker.store_away" if isinstance(fault, AutoReconnect) else "worker.failed")
    assert ctx.ran == ["a"]
