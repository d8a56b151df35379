"""How often something may happen: exact moving windows, counted in Redis for all processes together."""

import math
import time
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from storage.redis import pool


class RateLimiter:
    """Counts by name and key. Raises one of `BUS_AWAY` when Redis does not answer: the caller refuses then."""

    def __init__(self, url: str) -> None:
        self._pool = pool(url)
        options: dict[str, Any] = {"connection_pool": self._pool}
        self._storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="limit", **options)
        self._windows = MovingWindowRateLimiter(self._storage)

    async def hit(self, name: str, key: str, amount: int, per_seconds: int) -> float | None:
        """Counts one and returns None, or counts nothing and returns the seconds until one more of `amount` is allowed.

        `name` is the limit's, `key` whom it counts for (an id or a blind index: keys are seen by operators).
        """
        limit = RateLimitItemPerSecond(amount, per_seconds, namespace=name)
        if await self._windows.hit(limit, key):
            return None
        window = await self._windows.get_window_stats(limit, key)
        return max(0.001, math.ceil((window.reset_time - time.time()) * 1000) / 1000)

    async def clear(self, name: str, key: str, amount: int, per_seconds: int) -> None:
        """Forgets what was counted for this key, for instance failed logins after a good one."""
        await self._windows.clear(RateLimitItemPerSecond(amount, per_seconds, namespace=name), key)

    async def close(self) -> None:
        """Ends the connections."""
        await self._pool.aclose()
