import gzip
import hashlib
from datetime import UTC, date, datetime

import pytest

from core.ports import Bill, BilledPayment, BilledRefund, RefundState
from integrations.wechat_pay import bills

DAY = date(2026, 3, 1)
NAMES = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
SUMS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
PAYMENT = (
    "`2026-03-01 00:30:00,`wx1,`1900000109,`0,`,`4200,`ORDER1,`o1,`JSAPI,`SUCCESS,`OTHERS,`CNY,`50.01,`0.00,`0,"
    "`0,`0.00,`0.00,`,`,`咨询费,图文,`,`0.30006,`0.60%,`50.01,`0.00,`"
)
REFUND = (
    "`2026-03-01 23:59:59,`wx1,`1900000109,`0,`,`4200,`ORDER1,`o1,`JSAPI,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`5030,"
    "`ORDER1-R,`50.01,`0.00,`ORIGINAL,`PROCESSING,`咨询费,`,`-0.30006,`0.60%,`0.00,`50.01,`"
)


def file(*rows: str, count: int | None = None, names: str = NAMES) -> bytes:
    number = len(rows) if count is None else count
    sums = f"`{number},`50.01,`50.01,`0.00,`0.00000,`50.01,`50.01"
    return ("\ufeff" + "\r\n".join((names, *rows, SUMS, sums)) + "\r\n").encode()


def read(content: bytes) -> Bill:
    return bills.read(content, DAY, mchid="1900000109", appid="wx1")


def digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@pytest.mark.feature("X1.2")
def test_payments_and_refunds_are_read_to_the_fen_and_their_times_in_utc():
    assert read(file(PAYMENT, REFUND)) == Bill(
        DAY,
        (BilledPayment("ORDER1", "4200", 5001, datetime(2026, 2, 28, 16, 30, tzinfo=UTC)),),
        (
            BilledRefund(
                "ORDER1", "ORDER1-R", "5030", 5001, RefundState.PROCESSING, datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)
            ),
        ),
    )


def test_a_comma_inside_a_value_does_not_shift_the_columns():
    [payment] = read(file(PAYMENT.replace("咨询费,图文", "a,b,c`,d"))).payments
    assert payment.amount == 5001


def test_columns_are_found_by_their_names():
    *names, last = NAMES.split(",")
    *values, note = PAYMENT.removeprefix("`").replace("咨询费,图文", "咨询费").split(",`")
    moved = ",".join(f"`{value}" for value in (note, *values))
    assert read(file(moved, names=",".join((last, *names)))) == read(file(PAYMENT))


@pytest.mark.parametrize(
    ("said", "state"),
    [("SUCCESS", RefundState.SUCCESS), ("FAIL", RefundState.ABNORMAL), ("CLOSED", RefundState.CLOSED)],
)
def test_states_of_refunds(said, state):
    [refund] = read(file(REFUND.replace("PROCESSING", said))).refunds
    assert refund.state is state


def test_another_applications_lines_are_left_out():
    assert read(file(PAYMENT.replace("`wx1,", "`wx2,"), REFUND)).payments == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        NAMES.encode(),
        file(PAYMENT, count=2),
        file(PAYMENT)[:-200],
        file(PAYMENT.replace(",`0.60%", "")),
        file(PAYMENT.removeprefix("`")),
        file(PAYMENT.replace("1900000109", "1900000110")),
        file(PAYMENT.replace("2026-03-01", "2026-03-02")),
        file(PAYMENT.replace("2026-03-01 00:30:00", "20260301")),
        file(PAYMENT.replace("`CNY", "`USD")),
        file(PAYMENT.replace("`SUCCESS", "`REVOKED")),
        file(PAYMENT.replace("`50.01,`0.00,`", "`50.015,`0.00,`")),
        file(PAYMENT.replace("`50.01,`0.00,`", "`NaN,`0.00,`")),
        file(PAYMENT.replace("`50.01,`0.00,`", "`-1.00,`0.00,`")),
        file(REFUND.replace("PROCESSING", "LOST")),
        file(PAYMENT, names=NAMES.replace("订单金额,申请", "金额,申请")),
    ],
)
def test_what_does_not_hold_is_refused_whole(content):
    with pytest.raises(ValueError):
        read(content)


def test_a_file_is_taken_out_of_its_gzip_and_compared_with_its_digest():
    plain = file(PAYMENT)
    for sent in (plain, gzip.compress(plain)):
        assert bills.unpack(sent, hash_type="SHA1", hash_value=digest(plain).upper()) == plain


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"another file", "SHA1"),
        (gzip.compress(b"another file"), "SHA1"),
        (gzip.compress(file(PAYMENT))[:-9], "SHA1"),
        (b"\x1f\x8bnot gzip", "SHA1"),
        (file(PAYMENT), "MD5"),
    ],
    ids=["another file", "another file packed", "cut off", "no gzip", "another digest"],
)
def test_a_file_that_is_not_the_one_that_was_signed_is_refused(content, kind):
    with pytest.raises(ValueError):
        bills.unpack(content, hash_type=kind, hash_value=digest(file(PAYMENT)))


def test_a_file_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(bills, "LARGEST", 1000)
    for content in (b"x" * 1001, gzip.compress(b"x" * 1_000_000)):
        with pytest.raises(ValueError, match="large"):
            bills.unpack(content, hash_type="SHA1", hash_value="")


def test_a_bill_is_made_at_ten_in_china():
    assert bills.made_at(DAY) == datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
