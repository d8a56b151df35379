import asyncio
import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from structlog.testing import capture_logs

from core.ports import (
    AlreadyPaid,
    BadNotification,
    PaymentRequest,
    RefundRequest,
    RefundState,
    Rejected,
    TradeState,
    Unavailable,
)
from integrations.wechat_pay import WeChatPay

NUMBER = "01J0000000000000000000ORDR"
REFUND_NUMBER = "01J0000000000000000000RFND"


def payment(stand, **changes) -> PaymentRequest:
    wanted = PaymentRequest(
        out_trade_no=NUMBER,
        description="图文咨询",
        amount=5000,
        expires_at=stand.clock.now() + timedelta(minutes=30),
        payer_openid="o-patient-1",
    )
    return replace(wanted, **changes)


def refund(**changes) -> RefundRequest:
    wanted = RefundRequest(
        out_trade_no=NUMBER, out_refund_no=REFUND_NUMBER, amount=5000, total=5000, reason="医生未接诊"
    )
    return replace(wanted, **changes)


async def paid(stand, pay):
    """An order paid by its patient, and what the merchant was told."""
    await pay.prepay(payment(stand))
    await stand.control(f"pay/{NUMBER}")
    return await stand.mailbox.next()


def seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


# --- opening


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test
async def test_prepay_opens_the_order_and_signs_what_the_mini_program_needs(stand, pay):
    parameters = await pay.prepay(payment(stand))
    [order] = await stand.show("orders")
    assert (order["out_trade_no"], order["total"], order["openid"]) == (NUMBER, 5000, "o-patient-1")
    assert parameters.keys() == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert parameters["package"] == f"prepay_id={order['prepay_id']}"
    assert (parameters["appId"], parameters["signType"]) == (stand.listed["appid"], "RSA")
    assert parameters["timeStamp"] == str(int(stand.clock.now().timestamp()))
    signed = "".join(f"{parameters[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
    certificate = (stand.keys_dir / stand.listed["merchant_certificate_file"]).read_bytes()
    key = load_pem_x509_certificate(certificate).public_key()
    key.verify(b64decode(parameters["paySign"]), signed.encode(), PKCS1v15(), SHA256())


@pytest.mark.gen_test
async def test_expiry_is_told_in_chinas_time(stand, pay):
    await pay.prepay(payment(stand))
    [order] = await stand.show("orders")
    expected = seconds(stand.clock.now() + timedelta(minutes=30)).astimezone(timezone(timedelta(hours=8)))
    assert order["time_expire"] == expected.isoformat()
    assert order["time_expire"].endswith("+08:00")


@pytest.mark.gen_test
async def test_an_expiry_closer_than_the_gateway_takes_is_moved_out(stand, pay):
    await pay.prepay(payment(stand, expires_at=stand.clock.now() + timedelta(seconds=1)))
    [order] = await stand.show("orders")
    assert datetime.fromisoformat(order["time_expire"]) == seconds(stand.clock.now() + timedelta(seconds=65))


@pytest.mark.gen_test
async def test_the_same_request_again_is_the_same_payment(stand, pay):
    first, again = await pay.prepay(payment(stand)), await pay.prepay(payment(stand))
    assert first["package"] == again["package"]
    assert first["nonceStr"] != again["nonceStr"]


@pytest.mark.gen_test
async def test_another_amount_under_the_same_number_is_rejected_and_changes_nothing(stand, pay):
    await pay.prepay(payment(stand))
    with pytest.raises(Rejected) as refused:
        await pay.prepay(payment(stand, amount=1))
    assert refused.value.code == "INVALID_REQUEST"
    [order] = await stand.show("orders")
    assert order["total"] == 5000


@pytest.mark.gen_test
async def test_prepaying_a_paid_order_is_already_paid(stand, pay):
    await paid(stand, pay)
    with pytest.raises(AlreadyPaid):
        await pay.prepay(payment(stand))


@pytest.mark.gen_test
async def test_a_number_the_gateway_cannot_take_is_never_sent(stand, pay):
    for number in ("short", "x" * 33, "with|bar", "with/slash", "with?query"):
        with pytest.raises(ValueError, match="not a number"):
            await pay.query(number)
        with pytest.raises(ValueError, match="not a number"):
            await pay.prepay(payment(stand, out_trade_no=number))
    assert await stand.show("orders") == []


@pytest.mark.gen_test
async def test_wrong_merchant_number_key_or_serial_is_a_sign_error_until_it_is_put_right(stand, config):
    strange = [replace(config, mchid="1900000000"), replace(config, merchant_serial="0" * 40)]
    stolen = (stand.keys_dir / "wechat_pay_platform_private_key.pem").read_text()
    for wrong in [*strange, replace(config, merchant_private_key=stolen)]:
        adapter = WeChatPay(wrong, now=stand.clock.now)
        await adapter.start()
        with pytest.raises(Unavailable, match="SIGN_ERROR"):
            await adapter.prepay(payment(stand))
        await adapter.stop()
    assert await stand.show("orders") == []


# --- asking and closing


@pytest.mark.gen_test
async def test_an_unknown_number_is_none(pay):
    assert await pay.query(NUMBER) is None
    assert await pay.query_refund(REFUND_NUMBER) is None


@pytest.mark.gen_test
async def test_an_unpaid_order_is_told_without_money(stand, pay):
    await pay.prepay(payment(stand))
    found = await pay.query(NUMBER)
    assert (found.state, found.amount, found.transaction_id) == (TradeState.NOT_PAID, 0, None)
    assert (found.payer_openid, found.succeeded_at) == (None, None)


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test
async def test_a_paid_order_is_told_with_number_amount_payer_and_time(stand, pay):
    await paid(stand, pay)
    found = await pay.query(NUMBER)
    [order] = await stand.show("orders")
    assert (found.out_trade_no, found.transaction_id) == (NUMBER, order["transaction_id"])
    assert (found.state, found.amount, found.payer_openid) == (TradeState.SUCCESS, 5000, "o-patient-1")
    assert found.succeeded_at == seconds(stand.clock.now())
    assert found.succeeded_at.tzinfo is UTC


@pytest.mark.gen_test
async def test_a_refused_payment_is_told(stand, pay):
    await pay.prepay(payment(stand))
    await stand.control(f"fail/{NUMBER}")
    assert (await pay.query(NUMBER)).state is TradeState.ERROR


@pytest.mark.gen_test
async def test_a_closed_order_cannot_be_paid(stand, pay):
    await pay.prepay(payment(stand))
    await pay.close(NUMBER)
    assert (await pay.query(NUMBER)).state is TradeState.CLOSED
    refused = await stand.raw_control(f"pay/{NUMBER}")
    assert (refused.status_code, refused.json()["error"]) == (409, "ORDER_CLOSED")
    with pytest.raises(Rejected, match="ORDER_CLOSED"):
        await pay.prepay(payment(stand))


@pytest.mark.gen_test
async def test_closing_an_unknown_or_closed_number_is_fine(stand, pay):
    await pay.close(NUMBER)
    await pay.prepay(payment(stand))
    await pay.close(NUMBER)
    await pay.close(NUMBER)
    assert (await pay.query(NUMBER)).state is TradeState.CLOSED


@pytest.mark.gen_test
async def test_closing_a_paid_order_is_already_paid_and_it_stays_paid(stand, pay):
    await paid(stand, pay)
    with pytest.raises(AlreadyPaid):
        await pay.close(NUMBER)
    assert (await pay.query(NUMBER)).state is TradeState.SUCCESS


@pytest.mark.gen_test
async def test_an_expired_order_is_closed_at_the_gateway(stand, pay):
    await pay.prepay(payment(stand, expires_at=stand.clock.now() + timedelta(seconds=90)))
    stand.clock.step(91)
    assert (await pay.query(NUMBER)).state is TradeState.CLOSED


# --- refunds


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test
async def test_a_refund_is_accepted_ends_and_is_told(stand, pay):
    await paid(stand, pay)
    asked = await pay.refund(refund())
    assert (asked.out_refund_no, asked.out_trade_no) == (REFUND_NUMBER, NUMBER)
    assert (asked.state, asked.amount, asked.succeeded_at) == (RefundState.PROCESSING, 5000, None)
    told = await stand.mailbox.next()
    assert told.path == "/notify/wechat-refund"
    ended = pay.read_refund_notification(told.headers, told.body)
    found = await pay.query_refund(REFUND_NUMBER)
    assert found == replace(asked, state=RefundState.SUCCESS, succeeded_at=seconds(stand.clock.now()))
    assert asked.accepted_at == seconds(stand.clock.now())
    assert ended == replace(found, accepted_at=None)
    assert (await pay.query(NUMBER)).state is TradeState.REFUND
    assert await stand.show("ledger") == {"orders": {NUMBER: {"paid": 5000, "refunded": 5000, "held": 0}}, "held": 0}


@pytest.mark.gen_test
async def test_the_same_refund_again_gives_the_money_back_once(stand, pay):
    await paid(stand, pay)
    first = await pay.refund(refund(amount=2000))
    again = await pay.refund(refund(amount=2000))
    assert first.refund_id == again.refund_id
    await stand.idle()
    assert (await stand.show("ledger"))["held"] == 3000


@pytest.mark.gen_test
async def test_another_amount_under_the_same_refund_number_is_rejected(stand, pay):
    await paid(stand, pay)
    await pay.refund(refund(amount=2000))
    with pytest.raises(Rejected) as refused:
        await pay.refund(refund(amount=3000))
    await stand.idle()
    assert (refused.value.code, (await stand.show("ledger"))["held"]) == ("INVALID_REQUEST", 3000)


@pytest.mark.gen_test
async def test_a_refund_of_an_unpaid_order_or_of_too_much_is_rejected(stand, pay):
    await pay.prepay(payment(stand))
    with pytest.raises(Rejected, match="INVALID_REQUEST"):
        await pay.refund(refund())
    await stand.control(f"pay/{NUMBER}")
    with pytest.raises(Rejected, match="INVALID_REQUEST"):
        await pay.refund(refund(amount=5001))
    assert (await stand.show("ledger"))["held"] == 5000
    assert await pay.query_refund(REFUND_NUMBER) is None


@pytest.mark.gen_test
async def test_partial_refunds_closer_than_a_minute_are_to_be_asked_again(stand, pay):
    await paid(stand, pay)
    await pay.refund(refund(amount=1000))
    second = refund(amount=1000, out_refund_no="01J0000000000000000000RFN2")
    with pytest.raises(Unavailable, match="FREQUENCY_LIMITED"):
        await pay.refund(second)
    stand.clock.step(60)
    assert (await pay.refund(second)).state is RefundState.PROCESSING


@pytest.mark.gen_test
async def test_an_abnormal_refund_is_told_and_the_money_stays(stand, pay):
    await stand.faults(abnormal_refunds=True)
    await paid(stand, pay)
    await pay.refund(refund())
    told = await stand.mailbox.next()
    assert pay.read_refund_notification(told.headers, told.body).state is RefundState.ABNORMAL
    found = await pay.query_refund(REFUND_NUMBER)
    assert (found.state, found.succeeded_at) == (RefundState.ABNORMAL, None)
    assert (await stand.show("ledger"))["held"] == 5000


# --- notifications


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test
async def test_a_payment_notification_reads_as_the_query_does(stand, pay):
    told = await paid(stand, pay)
    assert told.path == "/notify/wechat-pay"
    read = pay.read_payment_notification(told.headers, told.body)
    assert read == await pay.query(NUMBER)
    assert (read.state, read.amount) == (TradeState.SUCCESS, 5000)


@pytest.mark.gen_test
async def test_a_replayed_notification_reads_the_same_for_five_minutes_and_then_no_more(stand, pay):
    told = await paid(stand, pay)
    first = pay.read_payment_notification(told.headers, told.body)
    stand.clock.step(299)
    assert pay.read_payment_notification(told.headers, told.body) == first
    stand.clock.step(2)
    with pytest.raises(BadNotification, match="minutes"):
        pay.read_payment_notification(told.headers, told.body)


@pytest.mark.gen_test
async def test_a_forged_notification_is_bad(stand, pay):
    await stand.faults(forge_signature=True)
    told = await paid(stand, pay)
    with pytest.raises(BadNotification, match="does not hold"):
        pay.read_payment_notification(told.headers, told.body)


@pytest.mark.gen_test
async def test_a_probe_is_bad_and_the_event_beside_it_is_read(stand, pay):
    await stand.faults(signtest_probe=True)
    told = [await paid(stand, pay), await stand.mailbox.next()]
    probe, event = sorted(told, key=lambda each: not each.headers["Wechatpay-Signature"].startswith("WECHATPAY/"))
    with pytest.raises(BadNotification, match="probe"):
        pay.read_payment_notification(probe.headers, probe.body)
    assert pay.read_payment_notification(event.headers, event.body).out_trade_no == NUMBER


@pytest.mark.gen_test
async def test_duplicates_read_the_same(stand, pay):
    await stand.faults(notify_duplicates=1)
    first, second = await paid(stand, pay), await stand.mailbox.next()
    assert first.headers["Wechatpay-Signature"] != second.headers["Wechatpay-Signature"]
    read = [pay.read_payment_notification(each.headers, each.body) for each in (first, second)]
    assert read[0] == read[1]


@pytest.mark.gen_test
async def test_a_payment_nobody_was_told_of_is_found_by_asking(stand, pay):
    await stand.faults(drop_notifications=True)
    await pay.prepay(payment(stand))
    await stand.control(f"pay/{NUMBER}")
    assert stand.mailbox.arrived.empty()
    assert (await pay.query(NUMBER)).state is TradeState.SUCCESS


@pytest.mark.gen_test
async def test_a_restarted_gateway_still_knows_payment_and_refund(stand, pay, config):
    await stand.faults(hold_refunds=True)
    await paid(stand, pay)
    before = await pay.refund(refund())
    await stand.shut()
    await stand.open()
    adapter = WeChatPay(replace(config, base_url=stand.url), now=stand.clock.now)
    await adapter.start()
    assert await adapter.query_refund(REFUND_NUMBER) == before
    assert (await adapter.query(NUMBER)).state is TradeState.REFUND
    await adapter.stop()


@pytest.mark.gen_test
async def test_a_wrong_amount_reaches_the_caller_to_be_compared(stand, pay):
    await stand.faults(wrong_amount=-4999)
    told = await paid(stand, pay)
    assert pay.read_payment_notification(told.headers, told.body).amount == 1
    assert (await pay.query(NUMBER)).amount == 5000


@pytest.mark.gen_test
async def test_a_notification_without_money_is_bad(stand, pay):
    await stand.faults(wrong_amount=-5000)
    told = await paid(stand, pay)
    with pytest.raises(BadNotification, match="no amount total"):
        pay.read_payment_notification(told.headers, told.body)


@pytest.mark.gen_test
async def test_a_notification_for_another_merchant_or_application_is_bad(stand, pay, config):
    told = await paid(stand, pay)
    for name, value in (("mchid", "1900000000"), ("appid", stand.listed["staff_appid"])):
        other = WeChatPay(replace(config, **{name: value}), now=stand.clock.now)
        with pytest.raises(BadNotification, match=f"another {name}"):
            other.read_payment_notification(told.headers, told.body)


@pytest.mark.gen_test
async def test_a_refund_notification_for_another_merchant_is_bad(stand, pay, config):
    await paid(stand, pay)
    await pay.refund(refund())
    told = await stand.mailbox.next()
    other = WeChatPay(replace(config, mchid="1900000000"), now=stand.clock.now)
    with pytest.raises(BadNotification, match="another mchid"):
        other.read_refund_notification(told.headers, told.body)


@pytest.mark.gen_test
async def test_a_payment_is_no_refund_and_a_refund_is_no_payment(stand, pay):
    payment_told = await paid(stand, pay)
    await pay.refund(refund())
    refund_told = await stand.mailbox.next()
    with pytest.raises(BadNotification, match="something else"):
        pay.read_refund_notification(payment_told.headers, payment_told.body)
    with pytest.raises(BadNotification, match="something else"):
        pay.read_payment_notification(refund_told.headers, refund_told.body)


# --- when the gateway fails


@pytest.mark.gen_test
async def test_a_gateway_that_is_down_is_unavailable_and_nothing_happened(stand, pay):
    await stand.faults(unavailable_calls=1)
    with pytest.raises(Unavailable, match="503"):
        await pay.prepay(payment(stand))
    assert await stand.show("orders") == []
    assert (await pay.prepay(payment(stand)))["package"].startswith("prepay_id=wx")


@pytest.mark.parametrize("code", ["SYSTEM_ERROR", "FREQUENCY_LIMITED", "BANK_ERROR"])
@pytest.mark.gen_test
async def test_an_error_that_passes_is_unavailable(stand, pay, code):
    await stand.faults(error_calls=1, error_code=code)
    with pytest.raises(Unavailable, match=code):
        await pay.query(NUMBER)


@pytest.mark.parametrize("code", ["NO_AUTH", "NOT_ENOUGH", "OUT_TRADE_NO_USED", "PARAM_ERROR"])
@pytest.mark.gen_test
async def test_a_no_is_rejected_with_the_gateways_code(stand, pay, code):
    await stand.faults(error_calls=1, error_code=code)
    with pytest.raises(Rejected) as refused:
        await pay.refund(refund())
    assert refused.value.code == code


@pytest.mark.gen_test
async def test_no_answer_in_time_is_unavailable(stand, config):
    hasty = WeChatPay(replace(config, timeout=0.2), now=stand.clock.now)
    await hasty.start()
    await stand.faults(hang_calls=1)
    with pytest.raises(Unavailable, match="Timeout"):
        await hasty.prepay(payment(stand))
    await hasty.stop()
    assert await stand.show("orders") == []


@pytest.mark.gen_test
async def test_an_effect_whose_answer_is_lost_is_found_again_by_the_same_number(stand, config):
    hasty = WeChatPay(replace(config, timeout=0.2), now=stand.clock.now)
    await hasty.start()
    await hasty.prepay(payment(stand))
    await stand.control(f"pay/{NUMBER}")
    await stand.faults(commit_then_hang_calls=1)
    with pytest.raises(Unavailable):
        await hasty.refund(refund())
    again = await hasty.refund(refund())
    await stand.idle()
    assert await hasty.query_refund(REFUND_NUMBER) == replace(
        again, state=RefundState.SUCCESS, succeeded_at=seconds(stand.clock.now())
    )
    assert (await stand.show("ledger"))["orders"][NUMBER]["refunded"] == 5000
    await hasty.stop()


@pytest.mark.gen_test
async def test_nobody_listening_is_unavailable(stand, pay):
    await stand.shut()
    with pytest.raises(Unavailable, match="ConnectError"):
        await pay.query(NUMBER)
    await stand.open()


@pytest.mark.gen_test
async def test_a_forged_answer_is_unavailable(stand, pay):
    await pay.prepay(payment(stand))
    await stand.faults(forge_answers=True)
    for asking in (pay.prepay(payment(stand)), pay.query(NUMBER), pay.close(NUMBER)):
        with pytest.raises(Unavailable, match="signature"):
            await asking


@pytest.mark.gen_test
async def test_an_answer_signed_by_an_unknown_platform_key_is_unavailable(stand, config):
    stranger = WeChatPay(replace(config, platform_public_key_id="PUB_KEY_ID_0"), now=stand.clock.now)
    await stranger.start()
    with pytest.raises(Unavailable, match="signature"):
        await stranger.prepay(payment(stand))
    await stranger.stop()


@pytest.mark.gen_test
async def test_an_answer_about_another_application_is_unavailable(stand, pay, config):
    await paid(stand, pay)
    other = WeChatPay(replace(config, appid=stand.listed["staff_appid"]), now=stand.clock.now)
    await other.start()
    with pytest.raises(Unavailable, match="another appid"):
        await other.query(NUMBER)
    await other.stop()


# --- what is logged


@pytest.mark.gen_test
async def test_each_call_is_logged_without_what_it_says(stand, pay):
    with capture_logs() as logs:
        await pay.prepay(payment(stand))
        await pay.query("01J0000000000000000000NONE")
    [opened, asked] = logs
    assert opened.pop("duration_ms") >= 0
    assert opened == {
        "event": "outside.called",
        "log_level": "info",
        "system": "wechat_pay",
        "action": "prepay",
        "number": NUMBER,
        "status": 200,
        "code": None,
    }
    assert (asked["action"], asked["status"], asked["code"]) == ("query", 404, "ORDER_NOT_EXIST")
    for secret in ("o-patient-1", "图文咨询", stand.listed["apiv3_key"]):
        assert secret not in json.dumps(logs, ensure_ascii=False)


@pytest.mark.gen_test
async def test_many_calls_share_the_client(stand, pay):
    numbers = [f"01J000000000000000000{number:05d}" for number in range(20)]
    await asyncio.gather(*(pay.prepay(payment(stand, out_trade_no=number)) for number in numbers))
    assert sorted(order["out_trade_no"] for order in await stand.show("orders")) == numbers


# --- bills


async def tomorrow(stand, pay):
    """Late enough for us to ask for the bill of today, which is told; the gateway gives it out before its time."""
    now = stand.clock.now()
    pay._now = lambda: now + timedelta(hours=34)
    await stand.faults(early_bills=True)
    return now.astimezone(timezone(timedelta(hours=8))).date()


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test
async def test_a_days_bill_names_its_payments_and_refunds(stand, pay):
    await stand.faults(hold_refunds=True)
    await paid(stand, pay)
    asked = await pay.refund(refund())
    told = await pay.query(NUMBER)
    bill = await pay.bill(await tomorrow(stand, pay))
    [payment], [given] = bill.payments, bill.refunds
    assert (payment.out_trade_no, payment.transaction_id, payment.amount) == (NUMBER, told.transaction_id, 5000)
    assert (payment.at, given.at) == (told.succeeded_at, asked.accepted_at)
    assert (given.out_trade_no, given.out_refund_no, given.refund_id) == (NUMBER, REFUND_NUMBER, asked.refund_id)
    assert (given.amount, given.state) == (5000, RefundState.PROCESSING)


@pytest.mark.gen_test
async def test_a_day_without_payments_is_an_empty_bill(stand, pay):
    bill = await pay.bill(await tomorrow(stand, pay))
    assert (bill.payments, bill.refunds) == ((), ())


@pytest.mark.gen_test
async def test_a_bill_is_not_asked_for_before_ten_of_the_next_day(stand, pay):
    await paid(stand, pay)
    today = stand.clock.now().astimezone(timezone(timedelta(hours=8))).date()
    with capture_logs() as logs, pytest.raises(Unavailable, match="10:00"):
        await pay.bill(today)
    assert logs == []


@pytest.mark.gen_test
async def test_a_bill_that_is_still_being_made_is_to_be_asked_for_again(stand, pay):
    today = await tomorrow(stand, pay)
    await stand.faults(error_calls=1, error_code="STATEMENT_CREATING")
    with pytest.raises(Unavailable, match="being made"):
        await pay.bill(today)


@pytest.mark.gen_test
async def test_a_file_that_is_not_the_one_that_was_signed_is_not_read(stand, pay):
    await paid(stand, pay)
    today = await tomorrow(stand, pay)
    await stand.faults(spoilt_bills=True)
    with pytest.raises(Unavailable, match=r"gzip|digest"):
        await pay.bill(today)
    await stand.faults(spoilt_bills=False, forge_answers=True)
    with pytest.raises(Unavailable, match="signature"):
        await pay.bill(today)


@pytest.mark.gen_test
async def test_a_bill_is_fetched_from_nobody_but_the_gateway(stand, pay, monkeypatch):
    await paid(stand, pay)
    today = await tomorrow(stand, pay)
    calls = []

    async def elsewhere(**asked):
        calls.append(asked)
        return 200, json.dumps({"hash_type": "SHA1", "hash_value": "0", "download_url": f"{stand.url}.example/file"})

    async def download(**asked):
        calls.append(asked)

    monkeypatch.setattr(pay._client, "trade_bill", elsewhere)
    monkeypatch.setattr(pay._client, "download_bill", download)
    with pytest.raises(Unavailable, match="not the gateway's"):
        await pay.bill(today)
    assert calls == [{"bill_date": today.isoformat()}]


@pytest.mark.gen_test
async def test_a_gateway_that_is_down_has_no_bill_now(stand, pay):
    today = await tomorrow(stand, pay)
    await stand.faults(unavailable_calls=1)
    with pytest.raises(Unavailable):
        await pay.bill(today)


@pytest.mark.gen_test
async def test_an_abnormal_refund_is_paid_out_to_the_hospital(stand, pay):
    await paid(stand, pay)
    await stand.faults(abnormal_refunds=True)
    asked = await pay.refund(refund())
    assert (await stand.mailbox.next()).envelope()["event_type"] == "REFUND.ABNORMAL"
    again = await pay.refund_to_merchant(asked.refund_id, REFUND_NUMBER)
    assert (again.out_refund_no, again.state) == (REFUND_NUMBER, RefundState.PROCESSING)
    assert (await stand.mailbox.next()).envelope()["event_type"] == "REFUND.SUCCESS"
    with pytest.raises(Rejected):
        await pay.refund_to_merchant(asked.refund_id, REFUND_NUMBER)
    assert (await stand.show("ledger"))["held"] == 0
