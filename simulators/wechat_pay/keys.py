"""The keys and numbers of the fictitious merchant, created once and read by the hospital.

Files in the keys folder, all of mode 0600 and each written whole or not at all:

    wechat_pay.json                        the list below; written last, so that its presence means the set is complete
    wechat_pay_merchant_key.pem            the merchant's private key (PKCS #8): the hospital signs with it
    wechat_pay_merchant_certificate.pem    its self-signed certificate, whose serial number names the key
    wechat_pay_platform_public_key.pem     WeChat Pay's public key: the hospital verifies with it
    wechat_pay_platform_private_key.pem    the simulator's own secret; not listed

`wechat_pay.json`: `mchid`, `appid` (patients' mini-program), `staff_appid` (staff's), `serial` (of the certificate),
`apiv3_key` (32 characters), `public_key_id` (`PUB_KEY_ID_…`), and file names beside it: `merchant_private_key_file`,
`merchant_certificate_file`, `platform_public_key_file`.
"""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

# The merchant number of WeChat Pay's own examples, and application ids nobody can have been given (theirs are
# hexadecimal); the login simulator knows the same two.
MCHID = "1900000109"
PATIENT_APPID = "wx00000000000demo1"
STAFF_APPID = "wx00000000000demo2"

LIST = "wechat_pay.json"
MERCHANT_KEY = "wechat_pay_merchant_key.pem"
MERCHANT_CERTIFICATE = "wechat_pay_merchant_certificate.pem"
PLATFORM_PUBLIC_KEY = "wechat_pay_platform_public_key.pem"
PLATFORM_PRIVATE_KEY = "wechat_pay_platform_private_key.pem"


@dataclass(frozen=True)
class Keys:
    """All that both sides know, as the gateway holds it."""

    mchid: str
    appids: frozenset[str]
    serial: str
    apiv3_key: str
    public_key_id: str
    merchant: RSAPrivateKey
    platform: RSAPrivateKey


def ensure_keys(folder: Path) -> Keys:
    """Read the set, creating it first where it is not complete. Takes a third of a second when it creates."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / LIST).exists():
        _create(folder)
    listed = json.loads((folder / LIST).read_text())
    return Keys(
        mchid=listed["mchid"],
        appids=frozenset({listed["appid"], listed["staff_appid"]}),
        serial=listed["serial"],
        apiv3_key=listed["apiv3_key"],
        public_key_id=listed["public_key_id"],
        merchant=_load(folder / listed["merchant_private_key_file"]),
        platform=_load(folder / PLATFORM_PRIVATE_KEY),
    )


def _create(folder: Path) -> None:
    merchant, platform = (generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    certificate = _self_signed(merchant)
    _write(folder / MERCHANT_KEY, _private_pem(merchant))
    _write(folder / MERCHANT_CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    _write(folder / PLATFORM_PRIVATE_KEY, _private_pem(platform))
    public = platform.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(folder / PLATFORM_PUBLIC_KEY, public)
    listed: dict[str, Any] = {
        "mchid": MCHID,
        "appid": PATIENT_APPID,
        "staff_appid": STAFF_APPID,
        "serial": f"{certificate.serial_number:040X}",
        "apiv3_key": secrets.token_hex(16),
        "public_key_id": f"PUB_KEY_ID_{secrets.randbelow(10**30):030d}",
        "merchant_private_key_file": MERCHANT_KEY,
        "merchant_certificate_file": MERCHANT_CERTIFICATE,
        "platform_public_key_file": PLATFORM_PUBLIC_KEY,
    }
    _write(folder / LIST, json.dumps(listed, indent=2).encode() + b"\n")


def _self_signed(key: RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MCHID)])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    return (
        builder.not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=5 * 365))
        .sign(key, SHA256())
    )


def _private_pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(path: Path) -> RSAPrivateKey:
    # The simulator wrote it: without the checks of a stranger's key it loads in under 1 ms instead of 45.
    key = load_pem_private_key(path.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError(f"{path.name} holds no RSA key")
    return key


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename, so that a reader or a crash never meets half a file."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
