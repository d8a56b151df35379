"""STUN and TURN servers for one offer, with credentials that end by themselves.

The form is coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00): the username is `expiry:account` in epoch
seconds, the password the base64 of its HMAC-SHA1 under the shared secret. coturn looks at the expiry only when a relay
is allocated or refreshed, so a credential must outlive the longest call.
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rtc.media import IceServer

if TYPE_CHECKING:
    from core.context import Turn

# Beyond the longest call: the setting up, and clocks that differ.
SPARE: Final = timedelta(minutes=10)


def mint(turn: "Turn", account: str, *, now: datetime, longest_call: timedelta) -> tuple[IceServer, ...]:
    """The servers for this account's next leg; () when the hospital has none. STUN addresses carry no credential."""
    servers = []
    stun = tuple(url for url in turn.urls if url.startswith("stun"))
    relays = tuple(url for url in turn.urls if not url.startswith("stun"))
    if stun:
        servers.append(IceServer(urls=stun))
    if relays:
        username = f"{int((now + longest_call + SPARE).timestamp())}:{account}"
        servers.append(IceServer(urls=relays, username=username, credential=password(turn.secret, username)))
    return tuple(servers)


def password(secret: str, username: str) -> str:
    """What coturn expects of this username."""
    return base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()


def shown(server: IceServer) -> dict[str, Any]:
    """As a browser's `RTCIceServer`."""
    told: dict[str, Any] = {"urls": list(server.urls)}
    if server.username is not None:
        told |= {"username": server.username, "credential": server.credential}
    return told


def read(told: dict[str, Any]) -> IceServer:
    """The opposite of `shown`."""
    return IceServer(tuple(told["urls"]), told.get("username"), told.get("credential"))
