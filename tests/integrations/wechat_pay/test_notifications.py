import json

import pytest

from core.ports import BadNotification
from integrations.wechat_pay.client import make_client
from integrations.wechat_pay.notifications import open_notification
from simulators.wechat_pay.keys import ensure_keys
from simulators.wechat_pay.signing import encrypt_resource, signed_headers

EVENTS = frozenset({"TRANSACTION.SUCCESS"})


class Vendor:
    """Signs and encrypts as the gateway does."""

    def __init__(self, stand, config) -> None:
        self.keys, self.clock, self.client = ensure_keys(stand.keys_dir), stand.clock, make_client(config)

    def body(self, **changes) -> bytes:
        envelope = {
            "id": "EV-1",
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "summary": "支付成功",
            "resource": encrypt_resource(self.keys, "transaction", {"out_trade_no": "ORDER1"}),
        }
        return json.dumps(envelope | changes, ensure_ascii=False).encode()

    def headers(self, body: bytes, *, age: float = 0, **kind: bool) -> dict[str, str]:
        return signed_headers(self.keys, body, self.clock.now().timestamp() - age, **kind)

    def open(self, headers, body):
        return open_notification(self.client, headers, body, event_types=EVENTS, now=self.clock.now())


@pytest.fixture
def vendor(stand, config) -> Vendor:
    return Vendor(stand, config)


@pytest.mark.feature("X1.2")
def test_a_true_notification_opens(vendor):
    body = vendor.body()
    assert vendor.open(vendor.headers(body), body) == {"out_trade_no": "ORDER1"}


def test_header_names_are_read_in_any_case(vendor):
    body = vendor.body()
    for rewrite in (str.lower, str.upper):
        headers = {rewrite(name): value for name, value in vendor.headers(body).items()}
        assert vendor.open(headers, body) == {"out_trade_no": "ORDER1"}


@pytest.mark.parametrize("age", [301, -301, 10 * 365 * 86400])
def test_a_true_signature_of_another_time_is_bad(vendor, age):
    body = vendor.body()
    with pytest.raises(BadNotification, match="minutes"):
        vendor.open(vendor.headers(body, age=age), body)


@pytest.mark.parametrize("age", [299, -299])
def test_five_minutes_either_way_are_allowed(vendor, age):
    body = vendor.body()
    assert vendor.open(vendor.headers(body, age=age), body) == {"out_trade_no": "ORDER1"}


def test_the_age_is_that_of_the_signed_header(vendor):
    body = vendor.body()
    old = vendor.headers(body, age=10_000)
    django = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in old.items()}
    fresh = str(int(vendor.clock.now().timestamp()))
    with pytest.raises(BadNotification):
        vendor.open(old | django | {"Wechatpay-Timestamp": fresh}, body)


@pytest.mark.parametrize("timestamp", ["", "now", "-5", "1e9", "١٢٣", "1" * 5000])
def test_a_timestamp_that_is_no_number_of_these_minutes_is_bad(vendor, timestamp):
    body = vendor.body()
    with pytest.raises(BadNotification):
        vendor.open(vendor.headers(body) | {"Wechatpay-Timestamp": timestamp}, body)


def test_a_changed_body_nonce_or_timestamp_is_bad(vendor):
    body = vendor.body()
    headers = vendor.headers(body)
    later = str(int(headers["Wechatpay-Timestamp"]) + 1)
    spoilt = [
        (headers, body.replace("支付成功".encode(), "支付失败".encode())),
        (headers, body + b" "),
        (headers | {"Wechatpay-Nonce": "another"}, body),
        (headers | {"Wechatpay-Timestamp": later}, body),
    ]
    for changed_headers, changed_body in spoilt:
        with pytest.raises(BadNotification, match="does not hold"):
            vendor.open(changed_headers, changed_body)


def test_a_forged_signature_is_bad(vendor):
    body = vendor.body()
    with pytest.raises(BadNotification, match="does not hold"):
        vendor.open(vendor.headers(body, forged=True), body)


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA"])
def test_a_signature_that_is_none_is_bad(vendor, signature):
    body = vendor.body()
    with pytest.raises(BadNotification):
        vendor.open(vendor.headers(body) | {"Wechatpay-Signature": signature}, body)


def test_a_probe_of_the_gateway_is_bad(vendor):
    body = vendor.body()
    with pytest.raises(BadNotification, match="probe"):
        vendor.open(vendor.headers(body, probe=True), body)


@pytest.mark.parametrize("missing", ["Signature", "Signature-Type", "Timestamp", "Nonce", "Serial"])
def test_a_missing_header_is_bad(vendor, missing):
    body = vendor.body()
    headers = vendor.headers(body)
    del headers[f"Wechatpay-{missing}"]
    with pytest.raises(BadNotification, match="header is missing"):
        vendor.open(headers, body)


@pytest.mark.parametrize(
    "changed",
    [
        {"Wechatpay-Signature-Type": "WECHATPAY2-SM2-WITH-SM3"},
        {"Wechatpay-Serial": "PUB_KEY_ID_0"},
        {"Wechatpay-Serial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"},
    ],
)
def test_an_unknown_kind_or_key_is_bad(vendor, changed):
    body = vendor.body()
    with pytest.raises(BadNotification):
        vendor.open(vendor.headers(body) | changed, body)


def test_what_is_signed_but_unreadable_is_bad(vendor):
    resource = encrypt_resource(vendor.keys, "transaction", {"out_trade_no": "ORDER1"})
    bodies = [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        vendor.body(resource_type="plain"),
        vendor.body(resource=None),
        vendor.body(resource=resource | {"algorithm": "none"}),
        vendor.body(resource=resource | {"associated_data": "refund"}),
        vendor.body(resource=resource | {"nonce": "short"}),
        vendor.body(resource=resource | {"ciphertext": "AAAA"}),
    ]
    for body in bodies:
        with pytest.raises(BadNotification):
            vendor.open(vendor.headers(body), body)


def test_an_event_of_another_kind_is_bad(vendor):
    body = vendor.body(event_type="REFUND.SUCCESS")
    with pytest.raises(BadNotification, match="something else"):
        vendor.open(vendor.headers(body), body)
