"""What the workshop and its child processes say to each other: a length, a JSON object, then bytes as long as it says.

Imported by both sides, so nothing heavy here. Asked: an `Order`, then `size` bytes. Answered: an `Answer`, then, when
`why` is None, `size` bytes of the cleaned file and `thumbnail_size` bytes of its thumbnail.
"""

import json
import struct
from typing import Any, Final, Literal, TypedDict

Why = Literal["damaged", "too_many_pixels", "codec", "too_demanding"]

_LENGTH: Final = struct.Struct(">I")
PREFIX_BYTES: Final = _LENGTH.size
# A header is a handful of numbers; whatever claims more is not one.
LARGEST_HEADER: Final = 4096


class Order(TypedDict):
    """`type` of the signature table, `size` of the file that follows, `pixels` that may be decoded."""

    type: str
    size: int
    pixels: int


class Answer(TypedDict):
    """Facts of the cleaned file, or `why` there is none (`error`: the type of the exception behind it, for the log)."""

    why: Why | None
    error: str | None
    size: int
    thumbnail_size: int
    width: int
    height: int
    duration: float | None


class Unfit(Exception):
    """The file is not one we keep."""

    def __init__(self, why: Why, error: str | None = None) -> None:
        super().__init__(why)
        self.why: Why = why
        self.error = error


def pack(header: Order | Answer) -> bytes:
    """The header on the wire."""
    body = json.dumps(header).encode()
    return _LENGTH.pack(len(body)) + body


def length_of(prefix: bytes) -> int:
    """How many bytes of JSON follow; `ValueError` for what no header can be."""
    length: int = _LENGTH.unpack(prefix)[0]
    if length > LARGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    return length


def unpack(body: bytes) -> Any:
    """The header's object."""
    return json.loads(body)
