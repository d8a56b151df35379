import asyncio

import pytest

from simulators.wechat_pay import courier
from tests.simulators.wechat_pay.stand import BOUND

NUMBER = "ORDER0000000001"


async def paid(stand) -> None:
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")


async def states(stand) -> list[tuple[str, int, int | None]]:
    return [(each["state"], each["attempts"], each["last_status"]) for each in await stand.show("notifications")]


async def tried(stand, attempts: int) -> None:
    """Until the first message has been tried so often, and the answer was noted."""
    async with asyncio.timeout(BOUND):
        while (await states(stand))[0][1] < attempts:
            pass


def test_the_waits_are_the_vendors():
    assert len(courier.WAITS) == 15
    assert sum(courier.WAITS) == 24 * 3600 + 4 * 60


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.gen_test
async def test_a_payment_is_told_once_when_it_is_understood(stand, status):
    stand.mailbox.answers = [status]
    await paid(stand)
    told = await stand.mailbox.next()
    await stand.idle()
    assert (told.path, told.envelope()["event_type"]) == ("/notify/wechat-pay", "TRANSACTION.SUCCESS")
    content = told.content(stand.listed["apiv3_key"])
    assert (content["out_trade_no"], content["trade_state"], content["amount"]["total"]) == (NUMBER, "SUCCESS", 5000)
    assert await states(stand) == [("delivered", 1, status)]
    assert stand.mailbox.arrived.empty()


@pytest.mark.gen_test
async def test_a_refusal_is_told_again_with_a_signature_of_its_own(stand):
    await stand.faults(retry_scale=0)
    stand.mailbox.answers = [500, 401]
    await paid(stand)
    told = [await stand.mailbox.next() for _ in range(3)]
    await stand.idle()
    assert await states(stand) == [("delivered", 3, 204)]
    assert len({each.envelope()["id"] for each in told}) == 1
    assert len({each.headers["Wechatpay-Signature"] for each in told}) == 3


@pytest.mark.gen_test
async def test_after_the_last_wait_nothing_more_is_told(stand):
    await stand.faults(retry_scale=0)
    stand.mailbox.answers = [500] * 20
    await paid(stand)
    for _ in range(16):
        await stand.mailbox.next()
    await stand.idle()
    assert await states(stand) == [("given_up", 16, 500)]
    assert stand.mailbox.arrived.empty()


@pytest.mark.gen_test
async def test_the_next_try_waits_as_long_as_the_vendor_does(stand):
    await stand.faults(retry_scale=0.1)
    stand.mailbox.answers = [500]
    await paid(stand)
    await stand.mailbox.next()
    begun = stand.clock.now().timestamp()
    await tried(stand, 1)
    [waiting] = await stand.show("notifications")
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert waiting["next_at"] == pytest.approx(begun + 1.5)
    stand.clock.step(1.5)
    stand.gateway.courier.wake()
    await stand.mailbox.next()
    await stand.idle()
    assert await states(stand) == [("delivered", 2, 204)]


@pytest.mark.gen_test
async def test_no_answer_in_time_counts_as_a_refusal(stand, monkeypatch):
    monkeypatch.setattr(courier, "PATIENCE", 0.1)
    await stand.faults(retry_scale=0)
    stand.mailbox.answers = [None]
    await paid(stand)
    await stand.mailbox.next()
    await stand.mailbox.next()
    await stand.idle()
    assert await states(stand) == [("delivered", 2, 204)]


@pytest.mark.gen_test
async def test_duplicates_come_together(stand):
    await stand.faults(notify_duplicates=2)
    await paid(stand)
    told = [await stand.mailbox.next() for _ in range(3)]
    await stand.idle()
    assert len({each.envelope()["id"] for each in told}) == 1
    assert await states(stand) == [("delivered", 1, 204)] * 3


@pytest.mark.gen_test
async def test_a_probe_comes_once_whatever_it_is_answered(stand):
    await stand.faults(signtest_probe=True, retry_scale=0)
    stand.mailbox.answers = [401, 401]
    await paid(stand)
    told = [await stand.mailbox.next() for _ in range(3)]
    await stand.idle()
    probes = [each.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/") for each in told]
    assert sorted(probes) == [False, False, True]
    assert await states(stand) == [("probed", 1, 401), ("delivered", 2, 204)]


@pytest.mark.gen_test
async def test_a_wrong_amount_is_told_only_while_it_is_switched_on(stand):
    await stand.faults(wrong_amount=1)
    stand.mailbox.answers = [500]
    await paid(stand)
    first = await stand.mailbox.next()
    await tried(stand, 1)
    await stand.faults(wrong_amount=0)
    stand.clock.step(15)
    stand.gateway.courier.wake()
    second = await stand.mailbox.next()
    totals = [each.content(stand.listed["apiv3_key"])["amount"]["total"] for each in (first, second)]
    assert totals == [5001, 5000]
    await stand.idle()


@pytest.mark.gen_test
async def test_a_late_event_comes_at_its_time(stand):
    await stand.faults(notify_delay=60)
    await paid(stand)
    assert stand.mailbox.arrived.empty()
    stand.clock.step(60)
    stand.gateway.courier.wake()
    told = await stand.mailbox.next()
    assert told.headers["Wechatpay-Timestamp"] == str(int(stand.clock.now().timestamp()))
    await stand.idle()


@pytest.mark.gen_test
async def test_a_dropped_event_never_comes(stand):
    await stand.faults(drop_notifications=True)
    await paid(stand)
    await stand.idle()
    assert await states(stand) == [("dropped", 0, None)]
    assert stand.mailbox.arrived.empty()


@pytest.mark.gen_test
async def test_more_than_can_be_sent_at_once_are_all_sent(stand):
    await stand.faults(notify_duplicates=99)
    await paid(stand)
    for _ in range(100):
        await stand.mailbox.next()
    await stand.idle()
    assert set(await states(stand)) == {("delivered", 1, 204)}


@pytest.mark.gen_test
async def test_a_receiver_that_is_away_is_tried_again(stand):
    await stand.faults(retry_scale=0)
    nowhere = stand.order(notify_url="http://127.0.0.1:1/notify")
    await stand.call("POST", "/v3/pay/transactions/jsapi", nowhere)
    await stand.control(f"pay/{NUMBER}")
    await stand.idle()
    assert await states(stand) == [("given_up", 16, None)]
