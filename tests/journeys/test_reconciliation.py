"""A day of the hospital's money, compared with the gateway's bill on the morning after (X1.2)."""

from collections.abc import Iterator

import pytest

from core.cashier.jobs import reconcile_days
from core.ports import RefundRequest
from tests.core.consulting import FEE
from tests.counting import CountingHouse, open_counting_house

LIST = "/admin/reconciliation"


@pytest.fixture(scope="module")
def _counting(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[CountingHouse]:
    opened = open_counting_house(mongo_uri, redis_url, tmp_path_factory.mktemp("counting"), "counting")
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def counting(_counting, io_loop) -> CountingHouse:
    """A day without any money yet."""
    io_loop.run_sync(_counting.begin)
    return _counting


def totals(payments: int, refunds: int) -> dict[str, int]:
    return {"payments": payments, "paid": payments * FEE, "refunds": refunds, "refunded": refunds * FEE}


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=90)
async def test_every_way_a_day_may_go_agrees_to_the_fen(counting):
    house = counting.house
    await house.waiting()  # still waits for its doctor
    completed = await house.completed()
    cancelled = await house.waiting()
    await cancelled.act(cancelled.patient, "cancel")
    await counting.refunded()
    expired = await house.submitted()
    await house.pass_deadline("visits", expired.id)
    late = await house.submitted()
    await late.open_payment()
    await house.pay(late.order_id)
    await house.faults(unavailable_calls=2)
    await house.pass_deadline("visits", late.id)
    await house.rest()
    await counting.stopped()  # an abnormal refund is not money that is missing
    await house.faults(hold_refunds=True)
    under_way = await house.waiting()
    await under_way.act(under_way.patient, "cancel")
    await house.rest()
    assert (await late.order())["status"] == "refunded"
    assert (await under_way.order())["refund"]["state"] == "PROCESSING"

    counting.next_morning()
    await reconcile_days(counting.ctx)
    found = await counting.admin().get(f"{LIST}/{counting.day}")
    assert found["differences"] == []
    assert found["ours"] == found["theirs"] == totals(payments=7, refunds=5)
    assert (await completed.order())["status"] == "paid"


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=90)
async def test_money_nobody_told_us_of_is_found_and_gone_from_the_next_comparison(counting):
    house = counting.house
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)  # neither told nor asked for: no worker that day
    counting.next_morning()
    admin = counting.admin()
    first = await admin.post(f"{LIST}/{counting.day}")
    [difference] = first["differences"]
    assert (difference["kind"], difference["order"]) == ("state_differs", case.order_id)
    assert (difference["our_state"], difference["their_state"], difference["their_amount"]) == (
        "pending",
        "SUCCESS",
        FEE,
    )
    assert (first["ours"], first["theirs"]) == (totals(0, 0), totals(1, 0))

    await house.pass_deadline("orders", case.order_id)  # the worker is back, and asks
    assert (await case.order())["status"] == "paid"
    second = await admin.post(f"{LIST}/{counting.day}")
    assert (second["version"], second["differences"], second["ours"]) == (2, [], totals(1, 0))
    assert [(run["version"], run["differences"]) for run in second["runs"]] == [(1, 1), (2, 0)]


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=90)
async def test_a_refund_made_behind_our_back_is_found(counting):
    """Somebody gave the money back on the merchant's own pages."""
    case = await counting.house.waiting()
    asked = RefundRequest(case.order_id, "BY-HAND-1", 1_000, FEE, "商户平台退款")
    await counting.ctx.payment.refund(asked)
    counting.next_morning()
    found = await counting.admin().post(f"{LIST}/{counting.day}")
    [difference] = found["differences"]
    assert (difference["kind"], difference["order"], difference["out_refund_no"]) == (
        "refund_missing_here",
        case.order_id,
        "BY-HAND-1",
    )
    assert (difference["our_amount"], difference["their_amount"]) == (None, 1_000)


@pytest.mark.gen_test(timeout=90)
async def test_a_refund_we_owe_and_could_not_ask_for_is_found(counting):
    case = await counting.house.waiting()
    await counting.house.faults(error_calls=1, error_code="NOT_ENOUGH")
    await case.act(case.doctor, "refund", reason="误操作")
    await counting.house.rest()
    counting.next_morning()
    found = await counting.admin().post(f"{LIST}/{counting.day}")
    assert [(one["kind"], one["order"], one["our_amount"]) for one in found["differences"]] == [
        ("refund_missing_at_gateway", case.order_id, FEE)
    ]
    assert found["ours"]["refunded"] - found["theirs"]["refunded"] == FEE
