"""Conditional and partial requests (RFC 9110): `If-None-Match`, `If-Range`, `Range`. Pure."""

import re
from dataclasses import dataclass
from typing import Final

# Ten to the eighteenth is beyond any file; longer numbers only cost time to read.
_ONE_RANGE: Final = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """The value of `Content-Range` (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


class Unsatisfiable(Exception):
    """Well-formed, but no byte of the file lies in it: 416."""


def parse(header: str | None, size: int) -> Span | None:
    """The one range asked for, cut to the file; None: serve the whole (no header, not understood, or several ranges).

    Raises `Unsatisfiable`. RFC 9110 §14.2 lets a server ignore a Range that it does not understand or does not like.
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, min(int(last) + 1, size) if last else size)


def _suffix(length: str, size: int) -> Span | None:
    if not length:
        return None
    wanted = min(int(length), size)
    if wanted == 0:
        raise Unsatisfiable
    return Span(size - wanted, size)


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client's copy is current: weak comparison, any of a list, or `*` (RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)


def is_range_valid(if_range: str | None, etag: str) -> bool:
    """Whether `Range` counts: no condition, or this tag, strongly compared; we give no dates (RFC 9110 §13.1.5)."""
    return if_range is None or if_range.strip() == etag
