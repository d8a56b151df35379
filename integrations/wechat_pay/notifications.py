"""Callbacks of the gateway: verified, fresh, decrypted, and ours."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wechatpayv3.async_ import AsyncWeChatPay

from core.ports import BadNotification

# The only headers the library is shown. It also reads other spellings of them (`HTTP_WECHATPAY_TIMESTAMP`); a sender
# could have the age checked on one and the signature on the other.
TIMESTAMP = "Wechatpay-Timestamp"
HEADERS = frozenset(
    {TIMESTAMP, "Wechatpay-Nonce", "Wechatpay-Signature", "Wechatpay-Serial", "Wechatpay-Signature-Type"}
)
MAXIMUM_AGE = 300
# Seconds since 1970; bounded, for the header is read before the signature has been looked at.
SECONDS = re.compile(r"[0-9]{1,12}")
TEST_SIGNATURE = "WECHATPAY/SIGNTEST/"


def open_notification(
    client: AsyncWeChatPay,
    headers: Mapping[str, str],
    body: bytes,
    *,
    event_types: frozenset[str],
    now: datetime,
) -> Any:
    """The decrypted content of a callback; `BadNotification` when anything about it does not hold.

    The library verifies signature and encryption but no age: the ±300 s are checked here, under the signature.
    """
    known = {name.title(): value for name, value in headers.items() if name.title() in HEADERS}
    if len(known) != len(HEADERS):
        raise BadNotification("a signature header is missing")
    if known["Wechatpay-Signature"].startswith(TEST_SIGNATURE):
        raise BadNotification("a probe of the gateway")
    _require_fresh(known[TIMESTAMP], now)
    try:
        envelope = client.callback(known, body)
    except Exception as failure:
        # The library raises bare Exception for an unknown signature type, and whatever its parsers raise for the rest.
        raise BadNotification("it cannot be verified or read") from failure
    if not isinstance(envelope, dict):
        raise BadNotification("its signature or encryption does not hold")
    if envelope.get("event_type") not in event_types:
        raise BadNotification("it tells of something else")
    return envelope["resource"]


def _require_fresh(timestamp: str, now: datetime) -> None:
    if not SECONDS.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > MAXIMUM_AGE:
        raise BadNotification("it is not of these minutes")
