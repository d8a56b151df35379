"""Short-lived values that all processes share, in Redis: WeChat's access tokens, held by one and used by all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import LockNotOwnedError
from redis.exceptions import TimeoutError as RedisTimeoutError

from storage.redis import Redis

log = structlog.get_logger()

# A holder makes at most two outside calls of a few seconds each inside the lock.
LOCK_SECONDS = 20


class SharedTokenCache:
    """Fulfils `integrations.wechat_login.tokens.TokenCache`. Raises one of `BUS_AWAY` when Redis is away."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def get(self, name: str) -> str | None:
        """The value, None when absent or expired."""
        found = await self._redis.get(f"{self._prefix}:{name}")
        return None if found is None else found.decode() if isinstance(found, bytes) else str(found)

    async def put(self, name: str, value: str, *, seconds: int) -> None:
        """Keep the value for so many seconds."""
        await self._redis.set(f"{self._prefix}:{name}", value, ex=seconds)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """One holder at a time in all processes; a holder that dies lets go after `LOCK_SECONDS`.

        Who has waited that long is told that Redis is away: asking again later is all there is to do in both cases.
        """
        lock = self._redis.lock(f"{self._prefix}:lock:{name}", timeout=LOCK_SECONDS, blocking_timeout=LOCK_SECONDS)
        if not await lock.acquire():
            raise RedisTimeoutError(f"{name} is locked")
        try:
            yield
        finally:
            try:
                await lock.release()
            except LockNotOwnedError:  # held too long, and another's by now; what was fetched is none the worse
                log.warning("token_cache.lock_outlived", name=name)
