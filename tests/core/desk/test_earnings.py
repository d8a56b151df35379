from datetime import UTC, datetime
from typing import Any

import pytest

from core.desk import earnings
from core.errors import Invalid
from core.ids import new_id
from tests.core.desk.conftest import add_doctor

# The last minute of April and the first of May in China.
APRIL, MAY = datetime(2026, 4, 30, 15, 59, tzinfo=UTC), datetime(2026, 4, 30, 16, 0, tzinfo=UTC)


async def an_order(desk, amount: int, at: datetime, *, back: datetime | None = None, **changes: Any) -> str:
    """An order that was paid at a time, and given back at another where one is said."""
    order: Any = {
        "_id": new_id(),
        "kind": "visit_fee",
        "status": "refunded" if back else "paid",
        "version": 1,
        "account_id": "p",
        "doctor_id": desk.doctor.id,
        "subject_id": new_id(),
        "description": "互联网医院图文咨询费",
        "amount": amount,
        "paid_at": at,
        "refund": back
        and {"amount": amount, "succeeded_at": back, "requested_at": at, "state": "SUCCESS", "reason": ""},
        "created_at": at,
        "deadline_at": None,
        "history": [],
        "duties": [],
    }
    await desk.ctx.orders.add(order | changes)
    return str(order["_id"])


async def income(desk, by: str, first: str, last: str) -> dict[str, Any]:
    return await earnings.income(desk.ctx, caller=desk.doctor, by=by, first=first, last=last)


def line(**figures: int) -> dict[str, int]:
    return {"paid": 0, "paid_count": 0, "refunded": 0, "refunded_count": 0, "net": 0} | figures


@pytest.mark.feature("D4.1")
@pytest.mark.rule("R2-7")
@pytest.mark.gen_test
async def test_a_refund_in_a_later_month_leaves_the_month_of_the_payment_as_it_was(desk, other):
    await an_order(desk, 3_000, APRIL)
    await an_order(desk, 2_000, APRIL, back=MAY)
    await an_order(desk, 500, MAY)
    await an_order(desk, 88_800, MAY, kind="prescription_fee")
    await an_order(desk, 99_900, MAY, kind="shipping_fee", back=MAY)
    await an_order(other, 70_000, MAY)
    april = await income(desk, "month", "2026-04-01", "2026-04-30")
    both = await income(desk, "month", "2026-04-01", "2026-05-31")
    assert april["items"] == [{"period": "2026-04", **line(paid=5_000, paid_count=2, net=5_000)}]
    assert both["items"] == [
        {"period": "2026-04", **line(paid=5_000, paid_count=2, net=5_000)},
        {"period": "2026-05", **line(paid=500, paid_count=1, refunded=2_000, refunded_count=1, net=-1_500)},
    ]
    assert both["total"] == line(paid=5_500, paid_count=3, refunded=2_000, refunded_count=1, net=3_500)
    assert (both["first"], both["last"]) == ("2026-04-01", "2026-05-31")


@pytest.mark.feature("D4.1")
@pytest.mark.gen_test
async def test_days_are_chinas_and_quiet_ones_have_their_line(desk):
    await an_order(desk, 3_000, APRIL)
    await an_order(desk, 500, MAY)
    found = await income(desk, "day", "2026-04-29", "2026-05-01")
    assert [(one["period"], one["net"]) for one in found["items"]] == [
        ("2026-04-29", 0),
        ("2026-04-30", 3_000),
        ("2026-05-01", 500),
    ]
    assert found["total"]["net"] == 3_500


@pytest.mark.gen_test
async def test_a_payment_on_its_way_back_still_counts_and_an_unpaid_one_never(desk):
    await an_order(desk, 3_000, MAY, status="refunding", refund={"amount": 3_000, "succeeded_at": None})
    await an_order(desk, 3_000, MAY, status="pending", paid_at=None)
    found = await income(desk, "day", "2026-05-01", "2026-05-01")
    assert found["total"] == line(paid=3_000, paid_count=1, net=3_000)


@pytest.mark.gen_test
async def test_a_doctor_without_orders_earns_nothing_today(desk):
    found = await earnings.income(desk.ctx, caller=desk.doctor, by="day", first=None, last=None)
    assert (len(found["items"]), found["total"]) == (30, line())


async def orders(desk, **asked: Any) -> list[dict[str, Any]]:
    given = {"limit": 20, "cursor": None, "status": None, "first": None, "last": None} | asked
    return await earnings.orders_page(desk.ctx, caller=desk.doctor, **given)


@pytest.mark.feature("D4.1")
@pytest.mark.gen_test
async def test_orders_are_filtered_by_state_and_chinas_days(desk, other):
    first = await an_order(desk, 1, APRIL)
    second = await an_order(desk, 2, MAY, back=MAY)
    await an_order(desk, 3, MAY, kind="prescription_fee")
    await an_order(other, 4, MAY)

    async def ids(**asked: Any) -> list[str]:
        return [order["_id"] for order in await orders(desk, **asked)]

    assert await ids() == [second, first]
    assert await ids(status="refunded") == [second]
    assert await ids(first="2026-05-01") == [second]
    assert await ids(last="2026-04-30") == [first]
    assert await ids(first="2026-04-30", last="2026-05-01") == [second, first]
    with pytest.raises(Invalid) as refused:
        await ids(first="2026-05-01", last="2026-04-30")
    assert list(refused.value.errors) == ["from"]


@pytest.mark.gen_test
async def test_pages_of_orders_stay_right_while_orders_arrive(desk):
    made = [await an_order(desk, n, MAY) for n in range(1, 5)]
    first = await orders(desk, limit=2)
    newest = await an_order(desk, 9, MAY)
    second = await orders(desk, limit=2, cursor=first[1]["_id"])
    assert [order["_id"] for order in first[:2] + second] == [made[3], made[2], made[1], made[0]]
    assert (await orders(desk, limit=1))[0]["_id"] == newest


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_an_order_names_its_patient_by_a_mask_and_its_visit_when_it_is_paid(house):
    doctor = await add_doctor(house, fees={"consult": 3_000, "followup": 0})
    case = await house.submitted(doctor)
    asked = {"limit": 20, "cursor": None, "status": None, "first": None, "last": None}
    unpaid = await earnings.orders_page(house.ctx, caller=doctor, **asked)
    await case.open_payment()
    assert await house.pay(case.order_id)
    await case.word()
    paid = await earnings.orders_page(house.ctx, caller=doctor, **asked)
    shown = [(one["_id"], one["status"], one["visit"], one["patient"]) for one in unpaid + paid]
    assert shown == [(case.order_id, "pending", None, "演*"), (case.order_id, "paid", case.id, "演*")]
