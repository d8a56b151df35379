import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from storage.indexes import ensure_indexes
from storage.orders import OrderRepository
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def an_order(id_: str, **changes: Any) -> Any:
    return {
        "_id": id_,
        "kind": "visit_fee",
        "status": "pending",
        "version": 1,
        "account_id": "p1",
        "subject_id": "v1",
        "amount": 3_000,
        "refund": None,
        "deadline_at": None,
        "updated_at": NOW,
        "history": [],
        "duties": [],
    } | changes


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def orders(io_loop, indexed):
    io_loop.run_sync(lambda: indexed.db["orders"].delete_many({}))
    return OrderRepository(indexed)


def ids(found) -> list[str]:
    return [order["_id"] for order in found]


@pytest.mark.gen_test
async def test_an_order_is_stored_once_and_stays_as_it_was(orders):
    added = await asyncio.gather(*(orders.add(an_order("o1", amount=amount)) for amount in range(1, 6)))
    assert added.count(True) == 1
    assert (await orders.get("o1"))["amount"] == added.index(True) + 1


@pytest.mark.gen_test
async def test_many_orders_stand_beside_each_other(orders):
    """No index may take what orders lack for something they have in common."""
    assert [await orders.add(an_order(f"o{n}")) for n in range(5)] == [True] * 5
    assert await orders.get("o9") is None


@pytest.mark.gen_test
async def test_pages_run_newest_first_and_are_the_accounts_own(orders):
    for n in (2, 5, 1, 4, 3):
        await orders.add(an_order(f"o{n}"))
    await orders.add(an_order("o6", account_id="p2"))
    assert ids(await orders.page("p1", before=None, limit=2)) == ["o5", "o4"]
    assert ids(await orders.page("p1", before="o4", limit=2)) == ["o3", "o2"]
    assert ids(await orders.page("p1", before="o2", limit=2)) == ["o1"]
    assert await orders.page("p1", before="o1", limit=2) == []


@pytest.mark.gen_test
async def test_a_status_is_asked_for_before_the_limit(orders):
    await orders.add(an_order("o1", status="paid"))
    for n in range(2, 8):
        await orders.add(an_order(f"o{n}"))
    assert ids(await orders.page("p1", before=None, limit=2, status="paid")) == ["o1"]
    assert await orders.page("p1", before=None, limit=2, status="closed") == []


@pytest.mark.gen_test(timeout=20)
async def test_nothing_is_scanned(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        orders = OrderRepository(store)
        await orders.add(an_order("o1"))
        await orders.get("o1")
        for before in (None, "o9"):
            await orders.page("p1", before=before, limit=5, status="paid")
        await orders.due(NOW, 5)
        await orders.overdue(NOW, 5)
        assert await plans.scans() == []
