import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from storage.indexes import ensure_indexes
from storage.reconciliations import RUNS, ReconciliationRepository
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=10)
TOTALS = {"payments": 1, "paid": 3_000, "refunds": 0, "refunded": 0}
DIFFERENCE = {"kind": "missing_here", "order_id": "o1", "their_amount": 3_000}


def a_run(version: int = 1, differences: int = 0, **changes):
    return {
        "version": version,
        "at": NOW,
        "by": "system",
        "ours": TOTALS,
        "theirs": TOTALS,
        "differences": differences,
    } | changes


@pytest.fixture
def reconciliations(io_loop, store):
    io_loop.run_sync(lambda: store.db["reconciliations"].delete_many({}))
    return ReconciliationRepository(store)


async def compared(reconciliations, day: str, version: int = 1) -> None:
    assert await reconciliations.begin(day, token="t", now=NOW, until=UNTIL) == version - 1
    assert await reconciliations.finish(day, token="t", run=a_run(version), differences=[])


@pytest.mark.gen_test
async def test_of_many_that_begin_at_once_one_compares(reconciliations):
    begun = await asyncio.gather(
        *(reconciliations.begin("2026-05-03", token=f"t{n}", now=NOW, until=UNTIL) for n in range(5))
    )
    assert sorted(begun, key=str) == [0, None, None, None, None]
    assert await reconciliations.get("2026-05-03") is None
    assert await reconciliations.page(before=None, limit=5) == []


@pytest.mark.gen_test
async def test_a_day_with_a_result_is_not_begun_as_the_first(reconciliations):
    await compared(reconciliations, "2026-05-03")
    assert await reconciliations.begin("2026-05-03", token="u", now=NOW, until=UNTIL, first=True) is None
    assert (await reconciliations.get("2026-05-03"))["lease"] is None


@pytest.mark.gen_test
async def test_a_result_is_replaced_by_the_next_version_and_its_runs_are_kept(reconciliations):
    await reconciliations.begin("2026-05-03", token="t", now=NOW, until=UNTIL)
    first = a_run(differences=1)
    assert await reconciliations.finish("2026-05-03", token="t", run=first, differences=[DIFFERENCE])
    assert await reconciliations.begin("2026-05-03", token="u", now=NOW, until=UNTIL) == 1
    second = a_run(2, by="a1")
    assert await reconciliations.finish("2026-05-03", token="u", run=second, differences=[])
    kept = await reconciliations.get("2026-05-03")
    assert (kept["version"], kept["by"], kept["differences"], kept["difference_count"]) == (2, "a1", [], 0)
    assert kept["runs"] == [first, second]


@pytest.mark.gen_test(timeout=20)
async def test_the_oldest_runs_make_room(reconciliations):
    for version in range(1, RUNS + 3):
        await compared(reconciliations, "2026-05-03", version)
    runs = (await reconciliations.get("2026-05-03"))["runs"]
    assert [run["version"] for run in runs] == list(range(3, RUNS + 3))


@pytest.mark.gen_test
async def test_who_lost_the_lease_keeps_nothing(reconciliations):
    await reconciliations.begin("2026-05-03", token="t", now=NOW, until=UNTIL)
    assert await reconciliations.begin("2026-05-03", token="u", now=UNTIL, until=UNTIL + timedelta(1)) == 0
    assert await reconciliations.finish("2026-05-03", token="t", run=a_run(), differences=[]) is False
    assert await reconciliations.get("2026-05-03") is None
    assert await reconciliations.finish("2026-05-03", token="u", run=a_run(), differences=[]) is True


@pytest.mark.gen_test
async def test_giving_up_lets_the_next_begin_and_an_earlier_result_stay(reconciliations):
    await compared(reconciliations, "2026-05-03")
    await reconciliations.begin("2026-05-03", token="u", now=NOW, until=UNTIL)
    await reconciliations.give_up("2026-05-03", token="someone else's")
    assert await reconciliations.begin("2026-05-03", token="v", now=NOW, until=UNTIL) is None
    await reconciliations.give_up("2026-05-03", token="u")
    assert await reconciliations.begin("2026-05-03", token="v", now=NOW, until=UNTIL) == 1
    assert (await reconciliations.get("2026-05-03"))["version"] == 1


@pytest.mark.gen_test
async def test_days_are_paged_newest_first_without_what_is_long(reconciliations):
    for day in ("2026-05-01", "2026-05-03", "2026-05-02"):
        await compared(reconciliations, day)
    newest = await reconciliations.page(before=None, limit=2)
    assert [one["_id"] for one in newest] == ["2026-05-03", "2026-05-02"]
    assert not {"differences", "runs"} & newest[0].keys()
    assert [one["_id"] for one in await reconciliations.page(before="2026-05-02", limit=2)] == ["2026-05-01"]
    assert await reconciliations.done_since("2026-05-02") == {"2026-05-02", "2026-05-03"}


@pytest.mark.gen_test(timeout=20)
async def test_nothing_is_scanned(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await ensure_indexes(store)
        plans.forget()
        reconciliations = ReconciliationRepository(store)
        await compared(reconciliations, "2026-06-01")
        await reconciliations.page(before="2026-06-01", limit=2)
        await reconciliations.done_since("2026-06-01")
        assert await plans.scans() == []
