"""Signed links: a short-lived address of one variant of one thing for one account, for `<img>` and `<video>`."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

Kind = Literal["media", "recording"]

_DOORS: Final = {"media": "/api/v1/media/{}/content", "recording": "/api/v1/calls/{}/recording/content"}


@dataclass(frozen=True)
class Grant:
    """What a link allows; `expires` in seconds of the epoch, `id` that of a medium or of a recorded call."""

    id: str
    variant: str
    account: str
    expires: int
    kind: Kind = "media"


def signature(grant: Grant, key: bytes) -> str:
    """HMAC-SHA256 over every part of the grant, base64url without padding."""
    # None of the parts can hold a line break: words, ids and a number.
    text = "\n".join((grant.kind, grant.id, grant.variant, grant.account, str(grant.expires)))
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
    return f"{_DOORS[grant.kind].format(grant.id)}?{urlencode(query)}"


def is_genuine(grant: Grant, given: str, key: bytes) -> bool:
    """Whether we signed this; takes the same time for every wrong signature."""
    return hmac.compare_digest(signature(grant, key).encode(), given.encode())
