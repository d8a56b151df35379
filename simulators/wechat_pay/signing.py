"""Signatures and encryption of WeChat Pay APIv3, from the gateway's side.

RSA PKCS #1 v1.5 over SHA-256, base64; a request signs `METHOD\\nURI\\nTIMESTAMP\\nNONCE\\nBODY\\n`, an answer and a
notification `TIMESTAMP\\nNONCE\\nBODY\\n`. A notification's content is AES-256-GCM under the APIv3 key.
Source: pay.weixin.qq.com/doc/v3, "签名生成", "签名验证", "回调解密".
"""

import binascii
import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from simulators.wechat_pay.errors import Refused
from simulators.wechat_pay.keys import Keys

SCHEME = "WECHATPAY2-SHA256-RSA2048"
MAXIMUM_SKEW = 300
SECONDS = re.compile(r"[0-9]{1,12}")
FIELD = re.compile(r'(\w+)="([^"]*)"')


def verify_request(keys: Keys, headers: Mapping[str, str], method: str, uri: str, body: bytes, now: float) -> None:
    """Refuse with `SIGN_ERROR` what the merchant did not sign with its key within five minutes of `now` (seconds)."""
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    fields = dict(FIELD.findall(credentials))
    if scheme != SCHEME or fields.keys() != {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}:
        raise Refused("SIGN_ERROR", "Authorization 头格式错误")
    if fields["mchid"] != keys.mchid:
        raise Refused("SIGN_ERROR", "商户号与签名证书不匹配")
    if fields["serial_no"] != keys.serial:
        raise Refused("SIGN_ERROR", "商户证书序列号有误")
    if not SECONDS.fullmatch(fields["timestamp"]):
        raise Refused("SIGN_ERROR", "时间戳格式错误")
    if abs(now - int(fields["timestamp"])) > MAXIMUM_SKEW:
        raise Refused("SIGN_ERROR", "请求时间戳与微信支付时间相差过大")
    head = f"{method}\n{uri}\n{fields['timestamp']}\n{fields['nonce_str']}\n".encode()
    try:
        signature = b64decode(fields["signature"], validate=True)
        keys.merchant.public_key().verify(signature, head + body + b"\n", PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error) as failure:
        raise Refused("SIGN_ERROR", "签名错误") from failure


def signed_headers(keys: Keys, body: bytes, now: float, *, forged: bool = False, probe: bool = False) -> dict[str, str]:
    """The `Wechatpay-*` headers of an answer or notification.

    `forged` signs with another key than the platform's (the merchant's own); `probe` gives WeChat Pay's test of
    whether the receiver verifies at all, a signature that begins `WECHATPAY/SIGNTEST/`.
    """
    timestamp, nonce = str(int(now)), secrets.token_hex(16)
    signature = sign(keys.merchant if forged else keys.platform, timestamp, nonce, body)
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": f"WECHATPAY/SIGNTEST/{signature}" if probe else signature,
        "Wechatpay-Serial": keys.public_key_id,
        "Wechatpay-Signature-Type": SCHEME,
    }


def sign(key: RSAPrivateKey, timestamp: str, nonce: str, body: bytes) -> str:
    """The signature of an answer or notification, base64. About 1 ms of CPU."""
    message = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    return b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def encrypt_resource(keys: Keys, original_type: str, content: Mapping[str, Any]) -> dict[str, str]:
    """The `resource` of a notification."""
    nonce = secrets.token_hex(6)
    plain = json.dumps(content, ensure_ascii=False).encode()
    sealed = AESGCM(keys.apiv3_key.encode()).encrypt(nonce.encode(), plain, original_type.encode())
    return {
        "original_type": original_type,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": b64encode(sealed).decode(),
        "associated_data": original_type,
        "nonce": nonce,
    }
