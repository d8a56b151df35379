import gzip
import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from simulators.wechat_pay.bills import KEPT, Shelf
from simulators.wechat_pay.documents import CHINA

NUMBER = "ORDER0000000001"
NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)  # noon in China
BILL = "/v3/bill/tradebill?bill_date=2026-03-01&bill_type=ALL"


def at(stand, moment: datetime) -> None:
    stand.clock.step((moment - stand.clock.now()).total_seconds())


async def a_day(stand) -> None:
    """One payment and its refund, at noon."""
    at(stand, NOON)
    await stand.faults(hold_refunds=True)
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")
    stand.clock.step(60)
    await stand.call("POST", "/v3/refund/domestic/refunds", stand.refund())


async def fetch(stand, uri: str = BILL):
    told = (await stand.call("GET", uri)).json()
    parts = urlsplit(told["download_url"])
    answer = await stand.call("GET", f"{parts.path}?{parts.query}")
    return told, answer


@pytest.mark.gen_test
async def test_a_days_bill_has_the_vendors_form(stand):
    await a_day(stand)
    at(stand, datetime(2026, 3, 2, 10, 0, tzinfo=CHINA))
    told, answer = await fetch(stand)
    order = (await stand.show("orders"))[0]
    names, payment, refund, sums, values, end = answer.content.decode().split("\r\n")
    assert (names.split(",")[:3], names.count(","), sums.split(",")[0], end) == (
        ["交易时间", "公众账号ID", "商户号"],
        26,
        "总交易单数",
        "",
    )
    appid, mchid = stand.listed["appid"], stand.listed["mchid"]
    head = f"`{appid},`{mchid},`0,`,`{order['transaction_id']},`{NUMBER},`o-patient-1,`JSAPI"
    assert payment == (
        f"`2026-03-01 12:00:00,{head},`SUCCESS,`OTHERS,`CNY,`50.00,`0.00,`0,`0,`0.00,`0.00,`,`,`图文咨询,`,"
        "`0.30000,`0.60%,`50.00,`0.00,`"
    )
    number = order["refunds"][0]["refund_id"]
    assert refund == (
        f"`2026-03-01 12:01:00,{head},`REFUND,`OTHERS,`CNY,`0.00,`0.00,`{number},`REFUND0000000001,`50.00,`0.00,"
        "`ORIGINAL,`PROCESSING,`图文咨询,`,`-0.30000,`0.60%,`0.00,`50.00,`"
    )
    assert values == "`2,`50.00,`50.00,`0.00,`0.00000,`50.00,`50.00"
    assert told["hash_type"] == "SHA1"
    assert told["hash_value"] == hashlib.sha1(answer.content, usedforsecurity=False).hexdigest()
    assert "Wechatpay-Signature" not in answer.headers


@pytest.mark.gen_test
async def test_the_digest_is_of_what_the_gzip_holds(stand):
    await a_day(stand)
    at(stand, datetime(2026, 3, 2, 10, 0, tzinfo=CHINA))
    told, answer = await fetch(stand, f"{BILL}&tar_type=GZIP")
    plain = gzip.decompress(answer.content)
    assert told["hash_value"] == hashlib.sha1(plain, usedforsecurity=False).hexdigest()


@pytest.mark.gen_test
async def test_a_bill_is_made_at_ten_of_the_next_day(stand):
    await a_day(stand)
    at(stand, datetime(2026, 3, 2, 9, 59, tzinfo=CHINA))
    early = await stand.call("GET", BILL)
    await stand.faults(early_bills=True)
    switched = await stand.call("GET", BILL)
    assert (early.status_code, early.json()["code"]) == (400, "STATEMENT_CREATING")
    assert switched.status_code == 200


@pytest.mark.gen_test
async def test_each_line_stands_on_its_own_day(stand):
    at(stand, NOON - timedelta(seconds=1, hours=-12))  # 23:59:59
    await stand.call("POST", "/v3/pay/transactions/jsapi", stand.order())
    await stand.control(f"pay/{NUMBER}")
    stand.clock.step(1)
    await stand.call("POST", "/v3/refund/domestic/refunds", stand.refund())
    at(stand, datetime(2026, 3, 3, 10, 0, tzinfo=CHINA))
    _, first = await fetch(stand)
    _, second = await fetch(stand, BILL.replace("03-01", "03-02"))
    assert [content.count("\n`2026") for content in (first.text, second.text)] == [1, 1]
    assert ("`SUCCESS" in first.text, "`REFUND" in second.text) == (True, True)
    nothing = await stand.call("GET", BILL.replace("03-01", "02-28"))
    assert (nothing.status_code, nothing.json()["code"]) == (400, "NO_STATEMENT_EXIST")


@pytest.mark.gen_test
async def test_what_cannot_be_a_bill_is_refused(stand):
    at(stand, NOON)
    for wrong in ("bill_date=2026-3-1x", "bill_date=2026-03-02", "bill_date=2025-03-01", "bill_type=ALL"):
        answer = await stand.call("GET", f"/v3/bill/tradebill?{wrong}")
        assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR"), wrong
    for wrong in ("&tar_type=ZIP", "&bill_type=SUCCESS"):
        answer = await stand.call("GET", f"/v3/bill/tradebill?bill_date=2026-02-28{wrong}")
        assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR"), wrong
    gone = await stand.call("GET", "/v3/billdownload/file?token=none")
    assert (gone.status_code, gone.json()["code"]) == (404, "RESOURCE_NOT_EXISTS")


def test_the_oldest_files_make_room():
    shelf = Shelf()
    tokens = [shelf.put(bytes([number])) for number in range(KEPT + 1)]
    assert (shelf.get(tokens[0]), shelf.get(tokens[1]), shelf.get(tokens[-1])) == (None, b"\x01", bytes([KEPT]))
