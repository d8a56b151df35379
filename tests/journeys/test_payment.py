"""WeChat Pay's word, however it comes: late, twice, forged, wrong, or not at all."""

import httpx
import pytest

from scripts.acting import Refused, until
from simulators.wechat_pay.faults import Faults
from tests.people import fresh_key, submitted


async def opened(stage):
    """Open the payment; the order's id."""
    order = stage.found["visit"]["order"]["id"]
    await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    return order


async def faults(hospital, **switched):
    answer = await hospital.http.post(f"{hospital.outside.wechat_pay}/_control/faults", json=switched)
    assert answer.is_success, answer.text


NO_FAULTS = Faults().document()


@pytest.fixture(autouse=True)
def no_faults_left(hospital, io_loop):
    yield
    io_loop.run_sync(lambda: faults(hospital, **NO_FAULTS))


async def status_becomes(stage, wanted):
    async def has_become():
        visit = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
        return (visit["status"], visit["order"]["status"]) == wanted

    await until(has_become)


@pytest.mark.feature("X1.2")
@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=60)
async def test_the_payment_parameters_are_signed_for_the_mini_program(hospital):
    stage = await submitted(hospital)
    order = stage.found["visit"]["order"]["id"]
    key = fresh_key()
    first = await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=key)
    again = await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=key)
    assert first == again
    assert set(first) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert (first["signType"], first["package"][:10]) == ("RSA", "prepay_id=")


@pytest.mark.feature("P1.6")
@pytest.mark.gen_test(timeout=60)
async def test_the_paid_notification_submits_once_however_often_it_arrives(hospital):
    stage = await submitted(hospital)
    order = await opened(stage)
    await faults(hospital, notify_duplicates=3)
    await stage.outside.pay(order)
    await status_becomes(stage, ("waiting", "paid"))
    visit = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
    assert [step["act"] for step in visit["history"]] == ["create", "submit"]


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_payment_nobody_notified_is_found_by_asking(hospital):
    stage = await submitted(hospital)
    order = await opened(stage)
    await faults(hospital, drop_notifications=True)
    await stage.outside.pay(order)
    await status_becomes(stage, ("waiting", "paid"))


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_money_for_a_visit_that_was_cancelled_meanwhile_goes_back(hospital):
    stage = await submitted(hospital)
    order = await opened(stage)
    await faults(hospital, notify_delay=1.0)
    await stage.outside.pay(order)
    await stage.patient.post(f"/visits/{stage.found['visit']['id']}/cancel")
    await status_becomes(stage, ("cancelled", "refunded"))
    ledger = (await hospital.http.get(f"{hospital.outside.wechat_pay}/_control/ledger")).json()
    fee = stage.found["visit"]["fee"]
    assert ledger["orders"][order] == {"paid": fee, "refunded": fee, "held": 0}


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_forged_notification_changes_nothing(hospital):
    stage = await submitted(hospital)
    await opened(stage)
    body = {"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": {"ciphertext": "AAAA", "nonce": "n"}}
    headers = {
        "Wechatpay-Timestamp": str(int(hospital.ctx.clock.now().timestamp())),
        "Wechatpay-Nonce": "nonce",
        "Wechatpay-Signature": "AAAA",
        "Wechatpay-Serial": "PUB_KEY_ID_0000",
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
    }
    answers: list[httpx.Response] = [
        await hospital.http.post(f"{hospital.url}/api/v1/notify/wechat-pay", json=body, headers=sent)
        for sent in (headers, {}, {**headers, "Wechatpay-Signature": "WECHATPAY/SIGNTEST/AAAA"})
    ]
    visit = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "FAIL")] * 3
    assert (visit["status"], visit["order"]["status"]) == ("pending_payment", "pending")


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_an_account_without_wechat_is_told_to_open_it(hospital):
    stage = await submitted(hospital)
    phone = stage.found["phone"][:-4] + "0000"
    other = await hospital.person().login_by_text_message(hospital.outside, phone)
    order = stage.found["visit"]["order"]["id"]
    with pytest.raises(Refused) as hidden:
        await other.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    assert hidden.value.code == "not_found"
    await hospital.ctx.orders.note(order, at=hospital.ctx.clock.now(), set={"account_id": other.account["id"]})
    with pytest.raises(Refused) as refused:
        await other.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    assert refused.value.code == "wechat_required"
    codes = await hospital.outside.wechat_codes(phone)
    parameters = await other.post(
        f"/orders/{order}/payment",
        {"channel": "wechat_jsapi", "login_code": codes["login_code"]},
        key=fresh_key(),
    )
    assert parameters["package"].startswith("prepay_id=")


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_notification_of_another_amount_changes_nothing(hospital):
    stage = await submitted(hospital)
    order = await opened(stage)
    await faults(hospital, wrong_amount=1, retry_scale=1000.0)
    await stage.outside.pay(order)

    async def was_refused():
        told = (await hospital.http.get(f"{hospital.outside.wechat_pay}/_control/notifications")).json()
        return any(order in str(one) and one["last_status"] == 401 for one in _listed(told))

    await until(was_refused)
    assert (await stage.patient.get(f"/orders/{order}"))["status"] == "pending"


def _listed(told):
    return told["notifications"] if isinstance(told, dict) else told


@pytest.mark.gen_test(timeout=60)
async def test_a_gateway_that_is_down_is_503_and_the_same_key_may_be_tried_again(hospital):
    stage = await submitted(hospital)
    order = stage.found["visit"]["order"]["id"]
    key = fresh_key()
    await faults(hospital, unavailable_calls=1)
    with pytest.raises(Refused) as refused:
        await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=key)
    again = await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=key)
    assert (refused.value.code, refused.value.body["status"]) == ("unavailable", 503)
    assert again["package"].startswith("prepay_id=")
