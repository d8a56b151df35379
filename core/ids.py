"""Identifiers and the clock: the two things every document starts with."""

import hashlib
import secrets
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

from ulid import ULID

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")  # calendar days of China; the country keeps no summer time


def new_id() -> str:
    """A ULID: opaque outside, ordered by time of making inside, so that `_id` pages a list newest first."""
    return str(ULID())


def id_at(moment: datetime, key: str | None = None) -> str:
    """A ULID of this moment; with a `key` always the same one of that key, else a new one each time."""
    tail = secrets.token_bytes(10) if key is None else hashlib.sha256(key.encode()).digest()[:10]
    return str(ULID.from_bytes(int(moment.timestamp() * 1000).to_bytes(6) + tail))


class Clock(Protocol):
    """Tells the time; tests step it."""

    def now(self) -> datetime:
        """Aware UTC, cut to the milliseconds that the store keeps."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Aware UTC, cut to the milliseconds that the store keeps."""
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def china_today(clock: Clock) -> date:
    """The calendar day in China, in which ages and validities are counted."""
    return clock.now().astimezone(CHINA).date()
