"""A clock that stands until it is stepped."""

from datetime import UTC, datetime, timedelta


class SettableClock:
    """Starts at the real time, then moves only by `step`."""

    def __init__(self, start: datetime | None = None) -> None:
        moment = start or datetime.now(UTC)
        self._now = moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def now(self) -> datetime:
        """Aware UTC in milliseconds."""
        return self._now

    def step(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += timedelta(seconds=seconds)
