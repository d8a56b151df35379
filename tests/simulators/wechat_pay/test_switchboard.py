import pytest

NUMBER = "ORDER0000000001"
REFUND = "REFUND0000000001"


async def placed(stand) -> None:
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())


@pytest.mark.gen_test
async def test_the_user_pays_and_the_order_is_shown(stand):
    await placed(stand)
    paid = await stand.control(f"pay/{NUMBER}", openid="o-patient-1")
    assert (paid["trade_state"], paid["total"], paid["openid"], paid["refunds"]) == ("SUCCESS", 5000, "o-patient-1", [])
    assert await stand.show("orders") == [paid]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("pay/UNKNOWN", {}, 404, "ORDER_NOT_EXIST"),
        ("fail/UNKNOWN", {}, 404, "ORDER_NOT_EXIST"),
        ("refund/UNKNOWN/settle", {}, 404, "RESOURCE_NOT_EXISTS"),
        (f"pay/{NUMBER}", {"openid": "o-somebody"}, 409, "OPENID_MISMATCH"),
        (f"refund/{REFUND}/settle", {"status": "LOST"}, 400, "status takes SUCCESS, ABNORMAL or CLOSED"),
        ("faults", {"unheard_of": 1}, 400, "no such switch: unheard_of"),
        ("faults", {"hang_calls": -1}, 400, "hang_calls: no fitting int"),
        ("faults", {"error_code": "NO_SUCH"}, 400, "no such error_code"),
    ],
)
@pytest.mark.gen_test
async def test_what_cannot_be_done_is_told_and_not_done(stand, path, body, status, code):
    await placed(stand)
    before = await stand.show("orders"), await stand.show("faults")
    answer = await stand.raw_control(path, **body)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert (await stand.show("orders"), await stand.show("faults")) == before


@pytest.mark.gen_test
async def test_the_bank_may_refuse_before_it_pays(stand):
    await placed(stand)
    assert (await stand.control(f"fail/{NUMBER}"))["trade_state"] == "PAYERROR"
    assert (await stand.control(f"pay/{NUMBER}"))["trade_state"] == "SUCCESS"


@pytest.mark.parametrize("status", ["SUCCESS", "ABNORMAL", "CLOSED"])
@pytest.mark.gen_test
async def test_a_held_refund_ends_as_told(stand, status):
    await stand.faults(hold_refunds=True)
    await placed(stand)
    await stand.control(f"pay/{NUMBER}")
    await stand.call("POST", "/v3/refund/domestic/refunds", stand.refund())
    assert (await stand.control(f"refund/{REFUND}/settle", status=status))["status"] == status
    await stand.idle()
    events = [each["event_type"] for each in await stand.show("notifications")]
    assert events == ["TRANSACTION.SUCCESS", f"REFUND.{status}"]
    assert (await stand.raw_control(f"refund/{REFUND}/settle")).status_code == 409


@pytest.mark.gen_test
async def test_switches_are_set_one_by_one(stand):
    await stand.faults(retry_scale=0.01)
    await stand.faults(forge_signature=True)
    faults = await stand.show("faults")
    assert (faults["retry_scale"], faults["forge_signature"], faults["hang_calls"]) == (0.01, True, 0)


@pytest.mark.gen_test
async def test_notifications_are_shown_without_what_they_tell(stand):
    await placed(stand)
    await stand.control(f"pay/{NUMBER}")
    await stand.idle()
    [shown] = await stand.show("notifications")
    assert (shown["subject"], shown["state"], "content" in shown) == (NUMBER, "delivered", False)


@pytest.mark.gen_test
async def test_the_ledger_shows_what_is_held(stand):
    await placed(stand)
    assert (await stand.show("ledger"))["held"] == 0
    await stand.control(f"pay/{NUMBER}")
    partial = stand.refund(amount={"refund": 1500, "total": 5000, "currency": "CNY"})
    await stand.call("POST", "/v3/refund/domestic/refunds", partial)
    await stand.idle()
    held = {"orders": {NUMBER: {"paid": 5000, "refunded": 1500, "held": 3500}}, "held": 3500}
    assert await stand.show("ledger") == held
