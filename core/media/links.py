"""Signed links: a short-lived address of one variant of one medium for one account, for `<img>` and `<video>`."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from core.media.rules import Variant


@dataclass(frozen=True)
class Grant:
    """What a link allows; `expires` in seconds of the epoch."""

    media_id: str
    variant: Variant
    account: str
    expires: int


def signature(grant: Grant, key: bytes) -> str:
    """HMAC-SHA256 over every part of the grant, base64url without padding."""
    # None of the parts can hold a line break: ids, a word and a number.
    text = "\n".join(("media", grant.media_id, grant.variant, grant.account, str(grant.expires)))
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def url(grant: Grant, key: bytes) -> str:
    """The path with its query, below the server's own address."""
    query = {
        "variant": grant.variant,
        "account": grant.account,
        "expires": grant.expires,
        "signature": signature(grant, key),
    }
    return f"/api/v1/media/{grant.media_id}/content?{urlencode(query)}"


def is_genuine(grant: Grant, given: str, key: bytes) -> bool:
    """Whether we signed this; takes the same time for every wrong signature."""
    return hmac.compare_digest(signature(grant, key).encode(), given.encode())
