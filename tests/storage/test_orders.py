import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.indexes import ensure_indexes
from storage.orders import Calendar, OrderRepository
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
        await orders.add(
            an_order(id_, paid_at=at, refund=at and a_refund(at + timedelta(hours=1)), history=[{"at": NOW}])
        )
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


def paid(id_: str, amount: int, at: datetime, **changes: Any) -> Any:
    return an_order(id_, status="paid", doctor_id="d1", amount=amount, paid_at=at, created_at=at) | changes


def given_back(amount: int, at: datetime | None) -> Any:
    return {"amount": amount, "succeeded_at": at}


DAYS, MONTHS = Calendar("%Y-%m-%d", "+08:00"), Calendar("%Y-%m", "+08:00")
# The last minute of April and the first of May in China.
APRIL, MAY = datetime(2026, 4, 30, 15, 59, tzinfo=UTC), datetime(2026, 4, 30, 16, 0, tzinfo=UTC)
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


async def sums(asked, *, calendar=DAYS, since=SINCE, until=UNTIL, doctor="d1"):
    found = await asked(doctor, kind="visit_fee", since=since, until=until, calendar=calendar)
    return [(one["_id"], one["amount"], one["count"]) for one in found]


@pytest.mark.rule("R2-7")
@pytest.mark.gen_test
async def test_fees_are_summed_by_chinas_days_and_months_without_drugs_and_other_doctors(orders):
    for order in (
        paid("o1", 100, APRIL),
        paid("o2", 20, APRIL, status="refunded", refund=given_back(20, MAY)),
        paid("o3", 3, MAY),
        paid("o4", 7_000, MAY, kind="prescription_fee"),
        paid("o5", 9_000, MAY, doctor_id="d2"),
        an_order("o6", doctor_id="d1", paid_at=None, amount=50_000),
    ):
        await orders.add(order)
    assert await sums(orders.paid_to_doctor) == [("2026-04-30", 120, 2), ("2026-05-01", 3, 1)]
    assert await sums(orders.paid_to_doctor, calendar=MONTHS) == [("2026-04", 120, 2), ("2026-05", 3, 1)]
    assert await sums(orders.paid_to_doctor, since=MAY) == [("2026-05-01", 3, 1)]
    assert await sums(orders.paid_to_doctor, until=MAY) == [("2026-04-30", 120, 2)]
    assert await sums(orders.paid_to_doctor, doctor="nobody") == []


@pytest.mark.gen_test
async def test_refunds_are_summed_by_the_day_the_money_went_back(orders):
    for order in (
        paid("o1", 100, APRIL, status="refunded", refund=given_back(100, MAY)),
        paid("o2", 20, MAY, status="refunding", refund=given_back(20, None)),
        paid("o3", 3, MAY, status="refunded", refund=given_back(3, MAY), kind="shipping_fee"),
    ):
        await orders.add(order)
    assert await sums(orders.refunded_by_doctor) == [("2026-05-01", 100, 1)]
    assert await sums(orders.refunded_by_doctor, calendar=MONTHS) == [("2026-05", 100, 1)]
    assert await sums(orders.refunded_by_doctor, until=MAY) == []


@pytest.mark.gen_test
async def test_a_doctors_orders_are_paged_and_filtered(orders):
    for order in (
        paid("o1", 1, APRIL),
        paid("o2", 2, MAY, status="refunded"),
        paid("o3", 3, MAY),
        paid("o4", 4, MAY, kind="prescription_fee"),
        paid("o5", 5, MAY, doctor_id="d2"),
    ):
        await orders.add(order)

    async def page(**asked: Any) -> list[str]:
        return ids(await orders.page_of_doctor("d1", kind="visit_fee", **({"before": None, "limit": 9} | asked)))

    assert await page() == ["o3", "o2", "o1"]
    assert await page(limit=2) == ["o3", "o2"]
    assert await page(before="o2") == ["o1"]
    assert await page(status="refunded") == ["o2"]
    assert await page(since=MAY) == ["o3", "o2"]
    assert await page(until=MAY) == ["o1"]


@pytest.mark.gen_test
async def test_what_the_desk_asks_of_orders_is_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        orders = OrderRepository(store)
        await orders.page_of_doctor("d1", kind="visit_fee", before="o1", limit=2, status="paid", since=APRIL)
        await sums(orders.paid_to_doctor)
        await sums(orders.refunded_by_doctor)
        assert await plans.scans() == []
