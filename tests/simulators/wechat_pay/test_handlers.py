from base64 import b64decode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

NUMBER = "ORDER0000000001"
ORDERS = "/v3/pay/transactions/jsapi"
REFUNDS = "/v3/refund/domestic/refunds"


def verify(answer: httpx.Response, keys) -> None:
    """The answer was signed by the platform, by the letter of the vendor's page."""
    headers = answer.headers
    message = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n{answer.text}\n".encode()
    signature = b64decode(headers["Wechatpay-Signature"])
    keys.platform.public_key().verify(signature, message, PKCS1v15(), SHA256())
    assert headers["Wechatpay-Serial"] == keys.public_key_id


async def placed(stand) -> httpx.Response:
    return await stand.call("POST", ORDERS, stand.order())


@pytest.mark.gen_test
async def test_an_order_is_opened_asked_for_and_closed_with_signed_answers(stand, keys):
    opened = await placed(stand)
    asked = await stand.call("GET", f"/v3/pay/transactions/out-trade-no/{NUMBER}?mchid={keys.mchid}")
    closed = await stand.call("POST", f"/v3/pay/transactions/out-trade-no/{NUMBER}/close", {"mchid": keys.mchid})
    assert [each.status_code for each in (opened, asked, closed)] == [200, 200, 204]
    assert opened.json()["prepay_id"].startswith("wx")
    assert (asked.json()["trade_state"], "amount" in asked.json(), closed.content) == ("NOTPAY", False, b"")
    for each in (opened, asked, closed):
        verify(each, keys)


@pytest.mark.gen_test
async def test_a_paid_order_is_found_by_the_gateways_number(stand, keys):
    await placed(stand)
    number = (await stand.control(f"pay/{NUMBER}"))["transaction_id"]
    asked = await stand.call("GET", f"/v3/pay/transactions/id/{number}?mchid={keys.mchid}")
    assert (asked.json()["out_trade_no"], asked.json()["trade_state"]) == (NUMBER, "SUCCESS")
    unknown = await stand.call("GET", f"/v3/pay/transactions/id/4200?mchid={keys.mchid}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "ORDER_NOT_EXIST")


@pytest.mark.gen_test
async def test_a_refund_is_asked_and_found(stand):
    await stand.faults(hold_refunds=True)
    await placed(stand)
    await stand.control(f"pay/{NUMBER}")
    asked = await stand.call("POST", REFUNDS, stand.refund())
    found = await stand.call("GET", f"{REFUNDS}/REFUND0000000001")
    assert (asked.status_code, asked.json()["status"], asked.json()["amount"]["refund"]) == (200, "PROCESSING", 5000)
    assert found.json() == asked.json()


@pytest.mark.gen_test
async def test_an_abnormal_refund_is_sent_elsewhere(stand):
    await stand.faults(abnormal_refunds=True)
    await placed(stand)
    await stand.control(f"pay/{NUMBER}")
    refund_id = (await stand.call("POST", REFUNDS, stand.refund())).json()["refund_id"]
    await stand.idle()
    body = {"out_refund_no": "REFUND0000000001", "type": "MERCHANT_BANK_CARD"}
    applied = await stand.call("POST", f"{REFUNDS}/{refund_id}/apply-abnormal-refund", body)
    await stand.idle()
    assert (applied.status_code, applied.json()["status"]) == (200, "PROCESSING")
    assert (await stand.show("ledger"))["held"] == 0


@pytest.mark.parametrize(
    ("method", "uri", "status", "code"),
    [
        ("GET", "/v3/pay/transactions/out-trade-no/UNKNOWN?mchid=1900000109", 404, "ORDER_NOT_EXIST"),
        ("GET", "/v3/pay/transactions/out-trade-no/UNKNOWN", 400, "PARAM_ERROR"),
        ("GET", "/v3/pay/transactions/out-trade-no/UNKNOWN?mchid=1900000000", 400, "PARAM_ERROR"),
        ("GET", "/v3/refund/domestic/refunds/UNKNOWN", 404, "RESOURCE_NOT_EXISTS"),
        ("GET", "/v3/certificates", 404, "RESOURCE_NOT_EXISTS"),
        ("GET", "/v3/unheard/of", 404, "RESOURCE_NOT_EXISTS"),
        ("DELETE", "/v3/pay/transactions/jsapi", 405, "RESOURCE_NOT_EXISTS"),
    ],
)
@pytest.mark.gen_test
async def test_a_refusal_is_signed_and_has_its_code(stand, keys, method, uri, status, code):
    answer = await stand.call(method, uri)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    verify(answer, keys)


@pytest.mark.gen_test
async def test_an_order_out_of_bounds_is_refused_and_not_kept(stand):
    answer = await stand.call("POST", ORDERS, stand.order(amount={"total": 0}))
    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")
    assert answer.json()["detail"]["field"] == "/amount/total"
    assert await stand.show("orders") == []


@pytest.mark.parametrize(
    "changes", [{"serial_no": "0" * 40}, {"mchid": "1900000000"}, {"timestamp": "1"}, {"body": "another"}]
)
@pytest.mark.gen_test
async def test_what_the_merchant_did_not_sign_is_refused_and_not_kept(stand, changes):
    answer = await stand.call("POST", ORDERS, stand.order(), **changes)
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert await stand.show("orders") == []


@pytest.mark.gen_test
async def test_an_unsigned_call_is_refused(stand):
    async with httpx.AsyncClient(base_url=stand.url, verify=False) as stranger:
        answer = await stranger.post(ORDERS, json=stand.order())
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.gen_test
async def test_the_echo_answers_what_was_sent(stand):
    answer = await stand.call("POST", "/v3/security/echo", {"echo": "你好"})
    assert (answer.status_code, answer.json()) == (200, {"echo": "你好"})


@pytest.mark.gen_test
async def test_the_front_servers_error_is_not_the_gateways(stand):
    await stand.faults(unavailable_calls=1)
    answer = await placed(stand)
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html")
    assert "Wechatpay-Signature" not in answer.headers
    assert await stand.show("orders") == []
    assert (await placed(stand)).status_code == 200


@pytest.mark.gen_test
async def test_an_error_comes_as_often_as_it_was_ordered(stand):
    await stand.faults(error_calls=2, error_code="NOT_ENOUGH")
    answers = [(await placed(stand)).status_code for _ in range(3)]
    assert answers == [403, 403, 200]


@pytest.mark.gen_test
async def test_a_call_that_hangs_has_an_effect_only_when_so_ordered(stand):
    hasty = httpx.Timeout(0.2)
    stand._http.timeout = hasty
    await stand.faults(hang_calls=1)
    with pytest.raises(httpx.ReadTimeout):
        await placed(stand)
    assert await stand.show("orders") == []
    await stand.faults(commit_then_hang_calls=1)
    with pytest.raises(httpx.ReadTimeout):
        await placed(stand)
    assert [order["out_trade_no"] for order in await stand.show("orders")] == [NUMBER]


@pytest.mark.gen_test
async def test_an_unforeseen_failure_is_a_system_error(stand, keys, monkeypatch, caplog):
    def fail(wanted):
        raise ZeroDivisionError

    monkeypatch.setattr(stand.gateway.bank, "place", fail)
    answer = await placed(stand)
    assert (answer.status_code, answer.json()["code"]) == (500, "SYSTEM_ERROR")
    verify(answer, keys)
    assert "ZeroDivisionError" in caplog.text
