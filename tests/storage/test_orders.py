import asyncio
from datetime import UTC, datetime, timedelta
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


def a_refund(at: datetime = NOW, **changes: Any) -> Any:
    return {"out_refund_no": "o1-R", "amount": 3_000, "state": None, "requested_at": at} | changes


@pytest.mark.gen_test
async def test_the_money_of_a_day_is_found_by_when_it_moved(orders):
    end = NOW + timedelta(days=1)
    for id_, at in (("o1", NOW), ("o2", end - timedelta(milliseconds=1)), ("o3", end), ("o4", None)):
        await orders.add(an_order(id_, paid_at=at, refund=at and a_refund(at + timedelta(hours=1)), history=[{}]))
    assert sorted(ids(await orders.paid_between(NOW, end))) == ["o1", "o2"]
    assert ids(await orders.refunds_between(NOW, end)) == ["o1"]
    assert "history" not in (await orders.paid_between(NOW, end))[0]


@pytest.mark.gen_test
async def test_refunds_under_way_are_paged_by_the_gateways_word_and_by_what_was_given_up(orders):
    dead = {"kind": "order.refund", "key": "k", "state": "dead", "next_at": None}
    for id_, state, duties in (("o1", "ABNORMAL", [dead]), ("o2", "PROCESSING", []), ("o3", None, [dead])):
        await orders.add(an_order(id_, status="refunding", refund=a_refund(state=state), duties=duties))
    await orders.add(an_order("o4", status="refunded", refund=a_refund(state="SUCCESS"), duties=[dead]))
    assert ids(await orders.page_of_refunds(before=None, limit=2)) == ["o3", "o2"]
    assert ids(await orders.page_of_refunds(before="o2", limit=2)) == ["o1"]
    assert ids(await orders.page_of_refunds(before=None, limit=5, states=("ABNORMAL", "CLOSED"))) == ["o1"]
    assert ids(await orders.page_of_refunds(before=None, limit=5, dead=True)) == ["o3", "o1"]


@pytest.mark.gen_test(timeout=20)
async def test_the_cashiers_questions_scan_nothing(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        orders = OrderRepository(store)
        await orders.paid_between(NOW, NOW + timedelta(days=1))
        await orders.refunds_between(NOW, NOW + timedelta(days=1))
        for before in (None, "o9"):
            await orders.page_of_refunds(before=before, limit=5, states=("ABNORMAL",), dead=True)
        assert await plans.scans() == []
