"""Token buckets: how often something may be done, counted in this process alone."""

import math
from collections.abc import Callable
from typing import Final

# From this many keys on, those that say nothing any more are thrown away, again whenever their number has doubled.
_KEEP: Final = 10_000


class Bucket:
    """Holds `size` tokens, filled again with `per_second`."""

    __slots__ = ("_at", "_tokens", "per_second", "size")

    def __init__(self, size: float, per_second: float, now: float) -> None:
        self.size = size
        self.per_second = per_second
        self._tokens = size
        self._at = now

    def take(self, now: float) -> float:
        """Take one token: 0, or the seconds until there is one (none is taken then)."""
        self._tokens = min(self.size, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.per_second

    def is_full(self, now: float) -> bool:
        """Whether it would be as good as a new one."""
        return self._tokens + (now - self._at) * self.per_second >= self.size


class Allowance:
    """One bucket for each key."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._look_at = _KEEP

    def take(self, key: str) -> float:
        """0 when it may be done now, else the seconds to wait."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._look_at:
                self._drop_full(now)
            bucket = self._buckets[key] = Bucket(self._per_minute, self._per_minute / 60, now)
        return bucket.take(now)

    def _drop_full(self, now: float) -> None:
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
        self._look_at = max(_KEEP, 2 * len(self._buckets))


class Pause:
    """At most once in `seconds` for each key; what comes earlier is dropped, not made to wait."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._look_at = _KEEP

    def passes(self, key: tuple[str, str]) -> bool:
        """Whether enough time has gone since it last passed."""
        now = self._clock()
        if now - self._last.get(key, -math.inf) < self._seconds:
            return False
        if len(self._last) >= self._look_at:
            self._last = {kept: at for kept, at in self._last.items() if now - at < self._seconds}
            self._look_at = max(_KEEP, 2 * len(self._last))
        self._last[key] = now
        return True
