"""Payment notifications changed in every way: what is not the gateway's word about an order of ours changes nothing."""

import base64
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.acting import until
from simulators.wechat_pay.keys import Keys, ensure_keys
from simulators.wechat_pay.signing import encrypt_resource, signed_headers
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.hospital import TestHospital
from tests.people import fresh_key, submitted

MONEY = ("status", "amount", "history", "transaction_id", "paid_at", "refund")
PATHS = ("wechat-pay", "wechat-refund")
# A gateway that speaks of an order with another amount is worth waking somebody: logged as an error, on purpose.
EXPECTED_ERRORS = {"payment.wrong_amount"}


@dataclass
class Unpaid:
    """An order that awaits its payment, and the gateway's means to speak of it."""

    hospital: TestHospital
    keys: Keys
    visit: str
    order: dict[str, Any]
    merchant: dict[str, Any]

    def content(self, **changes: Any) -> dict[str, Any]:
        """What the gateway would say of the payment."""
        said = {
            "mchid": self.merchant["mchid"],
            "appid": self.merchant["appid"],
            "out_trade_no": self.order["_id"],
            "transaction_id": "4200000000000000000000000001",
            "trade_type": "JSAPI",
            "trade_state": "SUCCESS",
            "bank_type": "OTHERS",
            "success_time": "2026-11-22T10:00:00+08:00",
            "payer": {"openid": "o-fuzz"},
            "amount": {"total": self.order["amount"], "currency": "CNY"},
        }
        return {**said, **changes}

    def body(self, content: Any, **changes: Any) -> bytes:
        """The envelope of a notification with this content, encrypted with the right key."""
        envelope = {
            "id": "EV-1",
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "summary": "支付成功",
            "resource": encrypt_resource(self.keys, "transaction", content),
        }
        return json.dumps({**envelope, **changes}).encode()

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers by which the gateway vouches for the body."""
        return signed_headers(self.keys, body, self.hospital.ctx.clock.now().timestamp())

    async def send(self, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """One notification."""
        raw = {name: value.encode("utf-8", "surrogatepass") for name, value in headers.items()}
        return await self.hospital.http.post(f"{self.hospital.url}/api/v1/notify/{path}", headers=raw, content=body)

    async def is_untouched(self) -> bool:
        """Order and visit have not moved; when the gateway is asked next, a duty, changes by itself."""
        order = await self.hospital.ctx.store.db["orders"].find_one({"_id": self.order["_id"]})
        visit = await self.hospital.ctx.store.db["visits"].find_one({"_id": self.visit})
        moved = [name for name in MONEY if order.get(name) != self.order.get(name)]
        return (moved, visit["status"]) == ([], "pending_payment")


@pytest.fixture(scope="module")
def unpaid(io_loop, hospital) -> Unpaid:
    return opened_order(io_loop, hospital)


def opened_order(io_loop, hospital) -> Unpaid:
    """An order whose payment has been begun."""
    listed = Path(hospital.settings.wechat_pay_file)
    merchant = json.loads(listed.read_text())

    async def opened() -> Unpaid:
        stage = await submitted(hospital)
        visit = stage.found["visit"]
        number = visit["order"]["id"]
        await stage.patient.post(f"/orders/{number}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
        order = await hospital.ctx.store.db["orders"].find_one({"_id": number})
        return Unpaid(hospital, ensure_keys(listed.parent), visit["id"], order, merchant)

    return io_loop.run_sync(opened, timeout=60)


HEADERS = (
    "Wechatpay-Timestamp",
    "Wechatpay-Nonce",
    "Wechatpay-Signature",
    "Wechatpay-Serial",
    "Wechatpay-Signature-Type",
)
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=80)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "0", "SUCCESS", "REFUND", "NOTPAY", "CNY", "\x00", "x" * 5_000, 10**400])
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)
)
WORDS_OF_CONTENT = st.sampled_from(
    ["mchid", "appid", "out_trade_no", "transaction_id", "trade_state", "success_time", "payer", "amount"]
)


def spoiled_headers(headers: dict[str, str], data: st.DataObject) -> dict[str, str]:
    """Without one of them, or with another value in one."""
    name = data.draw(st.sampled_from(HEADERS))
    value = data.draw(st.none() | HEADER_TEXT.filter(lambda said: said.strip() != headers[name].strip()))
    return {key: said for key, said in {**headers, name: value}.items() if said is not None}


def spoiled_body(body: bytes, data: st.DataObject) -> bytes:
    """A byte changed, some bytes gone, or something else altogether."""
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.binary(min_size=1, max_size=20).filter(lambda said: not body[at:].startswith(said)))
    return data.draw(st.sampled_from([body[:at], body[:at] + other + body[at + len(other) :], other, body + other]))


async def must_be_refused(
    unpaid: Unpaid, answers: Counter[int], path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = await unpaid.send(path, headers, body)
    answers[answer.status_code] += 1
    if answer.status_code == 401:
        assert answer.json() == {"code": "FAIL", "message": "失败"}
    else:
        assert answer.status_code == 400, answer.content
        assert answer.json()["code"] == "malformed"


def assert_nothing_came_of_it(io_loop, unpaid, heard) -> None:
    assert [line for line in heard.errors if json.loads(line)["event"] not in EXPECTED_ERRORS] == []
    assert io_loop.run_sync(unpaid.is_untouched)


def test_what_the_gateway_has_not_signed_is_refused(io_loop, unpaid):
    answers: Counter[int] = Counter()

    @settings(QUICKLY, max_examples=60)
    @given(path=st.sampled_from(PATHS), data=st.data(), spoils_headers=st.booleans())
    def send(path: str, data: st.DataObject, spoils_headers: bool) -> None:
        body = unpaid.body(unpaid.content())
        headers = unpaid.signed(body)
        if spoils_headers:
            headers = spoiled_headers(headers, data)
        else:
            body = spoiled_body(body, data)
        io_loop.run_sync(lambda: must_be_refused(unpaid, answers, path, headers, body), timeout=20)

    with listening() as heard:
        send()
    assert_nothing_came_of_it(io_loop, unpaid, heard)
    assert answers[401] > 40


def test_what_is_signed_but_says_something_else_is_refused(io_loop, unpaid):
    """Our own key is no reason to believe a content that does not hold."""
    answers: Counter[int] = Counter()

    @settings(QUICKLY, max_examples=60)
    @given(path=st.sampled_from(PATHS), name=WORDS_OF_CONTENT, value=VALUES)
    def send(path: str, name: str, value: Any) -> None:
        content = unpaid.content(**{name: value})
        if (name == "payer" and path == "wechat-pay") or name == "trade_state":
            content["out_trade_no"] = "0" * 26  # who paid is the gateway's to know: of another order
        body = unpaid.body(content)
        io_loop.run_sync(lambda: must_be_refused(unpaid, answers, path, unpaid.signed(body), body), timeout=20)

    with listening() as heard:
        send()
    assert_nothing_came_of_it(io_loop, unpaid, heard)


def test_signed_bodies_of_every_shape_are_refused(io_loop, unpaid):
    answers: Counter[int] = Counter()
    halves = st.just("\ud800")
    shapes = st.recursive(
        VALUES | halves, lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
    )
    resource = st.fixed_dictionaries(
        {},
        optional={
            "algorithm": VALUES | st.just("AEAD_AES_256_GCM"),
            "ciphertext": VALUES | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()),
            "associated_data": VALUES,
            "nonce": VALUES | st.just("0" * 12),
        },
    )

    @settings(QUICKLY, max_examples=50)
    @given(path=st.sampled_from(PATHS), said=shapes | st.fixed_dictionaries({"resource": resource | shapes}))
    def send(path: str, said: Any) -> None:
        whole = {"event_type": "TRANSACTION.SUCCESS", **said} if isinstance(said, dict) else said
        body = json.dumps(whole).encode()
        io_loop.run_sync(lambda: must_be_refused(unpaid, answers, path, unpaid.signed(body), body), timeout=20)

    with listening() as heard:
        send()
    assert_nothing_came_of_it(io_loop, unpaid, heard)


@pytest.mark.gen_test(timeout=30)
async def test_the_true_word_still_counts_after_all_of_it_and_once(unpaid):
    body = unpaid.body(unpaid.content())
    answers = [await unpaid.send("wechat-pay", unpaid.signed(body), body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [204, 204, 204]

    async def is_submitted() -> bool:
        visit = await unpaid.hospital.ctx.store.db["visits"].find_one({"_id": unpaid.visit})
        return visit["status"] == "waiting"

    await until(is_submitted)
    order = await unpaid.hospital.ctx.store.db["orders"].find_one({"_id": unpaid.order["_id"]})
    assert order["status"] == "paid"
