"""Frames: what a text frame may hold, and how replies and events are written.

A frame is one object or an array of objects, at most 64 KiB, both ways. Everything here is pure; replies and events are
encoded once and the bytes shared by all sockets they go to.
"""

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from core.errors import AppError

FRAME_BYTES: Final = 64 * 1024
# Objects in one frame. A phone that was away sends its queue at once; 100 are ten times what was seen to be typed.
BATCH: Final = 100

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_decode: Final = json.JSONDecoder().decode


class Close(IntEnum):
    """Why the server closes a socket. Clients treat every other code, 1000 too, as reconnectable."""

    UNAUTHENTICATED = 4001
    REPLACED = 4003
    TOO_SLOW = 4008
    PROTOCOL_ERROR = 4009
    DRAINING = 4012
    OVERLOADED = 4013
    RATE_LIMITED = 4029


CLOSES: Final[dict[Close, str]] = {
    Close.UNAUTHENTICATED: "no valid hello in time, the token ran out, or the session was revoked: log in again",
    Close.REPLACED: "this device opened a newer socket: do not reconnect from here",
    Close.TOO_SLOW: "more waits for this socket than it reads: reconnect and sync",
    Close.PROTOCOL_ERROR: "a frame that is not of this protocol: a mistake in the client",
    Close.DRAINING: "this process is going away: reconnect, to another one",
    Close.OVERLOADED: "too many connect at once: reconnect after the `retry_after_ms=` of the reason",
    Close.RATE_LIMITED: "too many frames a second: reconnect, slower",
}


class BadFrame(ValueError):
    """Not a frame of this protocol; the socket is closed with 4009."""


@dataclass(slots=True)
class Request:
    """One request as it stood in a frame; `args` are not checked yet."""

    id: str
    op: str
    args: dict[str, Any]


def parse(frame: str | bytes) -> list[Request]:
    """The requests of a frame in their order; BadFrame when it, or any of them, is not of the form."""
    if not isinstance(frame, str):
        raise BadFrame("frames are text")
    # Most frames are far from the limit: only long ones are measured in bytes.
    if len(frame) > FRAME_BYTES // 4 and len(frame.encode(errors="surrogatepass")) > FRAME_BYTES:
        raise BadFrame("a frame has at most 64 KiB")
    try:
        said = _decode(frame)
    except (ValueError, RecursionError) as error:
        raise BadFrame("frames are JSON") from error
    if isinstance(said, dict):
        return [_request(said)]
    if not isinstance(said, list) or not said:
        raise BadFrame("a frame is an object or an array of objects")
    if len(said) > BATCH:
        raise BadFrame(f"a frame has at most {BATCH} objects")
    return [_request(one) for one in said]


def _request(said: Any) -> Request:
    if not isinstance(said, dict) or not said.keys() <= {"id", "op", "args"}:
        raise BadFrame("a request has id, op and args")
    id_, op, args = said.get("id"), said.get("op"), said.get("args", {})
    if not isinstance(id_, str) or _REQUEST_ID.fullmatch(id_) is None:
        raise BadFrame("an id has 1 to 64 of A-Z a-z 0-9 _ -")
    if not isinstance(op, str) or not isinstance(args, dict):
        raise BadFrame("op is a string, args an object")
    return Request(id_, op, args)


def reply(request: str, data: dict[str, Any]) -> bytes:
    """A request's answer."""
    return _encode({"re": request, "ok": True, "data": data}).encode()


def refusal(request: str, error: AppError) -> bytes:
    """A request's refusal; `retry_after_ms` only where waiting helps."""
    said: dict[str, Any] = {"code": error.code, "message": error.detail}
    if error.retry_after is not None:
        said["retry_after_ms"] = math.ceil(error.retry_after * 1000)
    return _encode({"re": request, "ok": False, "error": said}).encode()


def event(name: str, data: dict[str, Any]) -> bytes:
    """An event."""
    return _encode({"ev": name, "data": data}).encode()


def batches(payloads: Sequence[bytes]) -> list[bytes]:
    """The payloads as few frames, in order, each within 64 KiB unless a single one is longer."""
    frames: list[bytes] = []
    start, size = 0, 1
    for number, payload in enumerate(payloads):
        if number > start and size + len(payload) + 1 > FRAME_BYTES:
            frames.append(_frame(payloads[start:number]))
            start, size = number, 1
        size += len(payload) + 1
    if len(payloads) > start:
        frames.append(_frame(payloads[start:]))
    return frames


def _frame(payloads: Sequence[bytes]) -> bytes:
    return payloads[0] if len(payloads) == 1 else b"[" + b",".join(payloads) + b"]"


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame as a server sends it (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size <= 0xFFFF:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload
