import json
from base64 import b64decode, b64encode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from simulators.wechat_pay.errors import Refused
from simulators.wechat_pay.signing import encrypt_resource, signed_headers, verify_request

NOW = 1_780_000_000
URI = "/v3/pay/transactions/out-trade-no/ORDER1?mchid=1900000109"


def authorization(keys, *, method="GET", uri=URI, body="", **changes) -> dict[str, str]:
    given = {"mchid": keys.mchid, "nonce_str": "n", "timestamp": str(NOW), "serial_no": keys.serial} | changes
    message = f"{method}\n{uri}\n{given['timestamp']}\n{given['nonce_str']}\n{body}\n".encode()
    given.setdefault("signature", b64encode(keys.merchant.sign(message, PKCS1v15(), SHA256())).decode())
    fields = ",".join(f'{name}="{value}"' for name, value in given.items())
    return {"Authorization": f"WECHATPAY2-SHA256-RSA2048 {fields}"}


def verify(keys, headers, *, method="GET", uri=URI, body=b"", now=NOW) -> None:
    verify_request(keys, headers, method, uri, body, now)


def test_the_merchants_signature_is_accepted_for_five_minutes(keys):
    for now in (NOW - 300, NOW, NOW + 300):
        verify(keys, authorization(keys), now=now)


def test_what_was_signed_is_what_must_arrive(keys):
    body = '{"description": "图文咨询"}'
    headers = authorization(keys, method="POST", body=body)
    verify(keys, headers, method="POST", body=body.encode())
    for changed in ({"method": "GET"}, {"uri": URI[:-1]}, {"body": b"{}"}):
        with pytest.raises(Refused, match="SIGN_ERROR"):
            verify(keys, headers, **{"method": "POST", "body": body.encode()} | changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"mchid": "1900000000"},
        {"serial_no": "0" * 40},
        {"timestamp": str(NOW - 301)},
        {"timestamp": str(NOW + 301)},
        {"timestamp": "now"},
        {"timestamp": "1" * 5000},
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
        {"another": "field"},
    ],
)
def test_another_sender_or_moment_is_refused(keys, changes):
    with pytest.raises(Refused, match="SIGN_ERROR"):
        verify(keys, authorization(keys, **changes))


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer token"}, {"Authorization": "WECHATPAY2-SHA256-RSA2048"}]
)
def test_no_signature_is_refused(keys, header):
    with pytest.raises(Refused, match="SIGN_ERROR"):
        verify(keys, header)


def test_an_answer_is_signed_by_the_platform(keys):
    body = b"{}"
    headers = signed_headers(keys, body, NOW + 0.9)
    message = f"{NOW}\n{headers['Wechatpay-Nonce']}\n{{}}\n".encode()
    signature = b64decode(headers["Wechatpay-Signature"])
    keys.platform.public_key().verify(signature, message, PKCS1v15(), SHA256())
    assert headers["Wechatpay-Serial"] == keys.public_key_id
    assert headers["Wechatpay-Signature-Type"] == "WECHATPAY2-SHA256-RSA2048"


def test_a_forged_answer_is_signed_by_somebody_else(keys):
    headers = signed_headers(keys, b"{}", NOW, forged=True)
    message = f"{NOW}\n{headers['Wechatpay-Nonce']}\n{{}}\n".encode()
    with pytest.raises(InvalidSignature):
        keys.platform.public_key().verify(b64decode(headers["Wechatpay-Signature"]), message, PKCS1v15(), SHA256())


def test_a_probe_begins_as_the_vendors_do(keys):
    assert signed_headers(keys, b"{}", NOW, probe=True)["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")


def test_a_resource_opens_with_the_apiv3_key_only(keys):
    resource = encrypt_resource(keys, "refund", {"reason": "退款"})
    assert (resource["original_type"], resource["algorithm"]) == ("refund", "AEAD_AES_256_GCM")
    assert len(resource["nonce"]) == 12
    sealed = b64decode(resource["ciphertext"])
    opened = AESGCM(keys.apiv3_key.encode()).decrypt(resource["nonce"].encode(), sealed, b"refund")
    assert json.loads(opened) == {"reason": "退款"}
