import pytest

NUMBER = "ORDER0000000001"


@pytest.mark.gen_test
async def test_a_restart_forgets_nothing_and_goes_on_telling(stand):
    await stand.faults(notify_delay=60, hold_refunds=True)
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")
    await stand.call("POST", "/v3/refund/domestic/refunds", stand.refund())
    before = await stand.show("orders"), await stand.show("faults"), await stand.show("ledger")
    await stand.shut()
    stand.clock.step(60)
    await stand.open()
    assert (await stand.show("orders"), await stand.show("faults"), await stand.show("ledger")) == before
    told = await stand.mailbox.next()
    assert told.content(stand.listed["apiv3_key"])["out_trade_no"] == NUMBER
    await stand.idle()
    await stand.control("refund/REFUND0000000001/settle")
    assert (await stand.show("ledger"))["held"] == 0


@pytest.mark.gen_test
async def test_a_try_that_was_cut_is_made_again(stand):
    stand.mailbox.answers = [None]
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")
    cut = await stand.mailbox.next()
    await stand.shut()
    await stand.open()
    again = await stand.mailbox.next()
    assert again.envelope()["id"] == cut.envelope()["id"]
    await stand.idle()
    assert [each["state"] for each in await stand.show("notifications")] == ["delivered"]


@pytest.mark.gen_test
async def test_a_reset_forgets_all_but_the_keys(stand):
    stand.mailbox.answers = [None]
    await stand.faults(unavailable_calls=0, wrong_amount=5)
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")
    await stand.mailbox.next()
    await stand.control("reset")
    assert (await stand.show("orders"), await stand.show("notifications")) == ([], [])
    assert (await stand.show("faults"))["wrong_amount"] == 0
    await stand.idle()
    assert (await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())).status_code == 200
