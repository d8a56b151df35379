"""Identifiers and the clock: the two things every document starts with."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

from ulid import ULID

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")  # calendar days of China; the country keeps no summer time


def new_id() -> str:
    """A ULID: opaque outside, ordered by time of making inside, so that `_id` pages a list newest first."""
    return str(ULID())


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
