"""Which media processes live and how much each carries, in Redis.

A process renews its own key every second; one that has not done so for three is lost, whatever the clocks of the
machines say, for the key expires by Redis's own.
"""

from typing import Final

from storage.redis import Redis

LOST_AFTER_SECONDS: Final = 3.0


class Heartbeats:
    """Every call raises one of `BUS_AWAY` when Redis is away; `prefix` keeps hospitals on one Redis apart."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def beat(self, process: str, load: int) -> None:
        """This process lives and carries `load` calls."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._key(process), str(load).encode(), px=round(LOST_AFTER_SECONDS * 1000))
        pipe.sadd(self._names(), process)
        await pipe.execute()

    async def leave(self, process: str) -> None:
        """This process takes no more calls."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.delete(self._key(process))
        pipe.srem(self._names(), process)
        await pipe.execute()

    async def living(self) -> dict[str, int]:
        """The processes that live, with their load; the names of those that are lost are forgotten."""
        members: set[bytes] = await self._redis.smembers(self._names())  # type: ignore[assignment]  # bytes, as connected
        names = sorted(name.decode() for name in members)
        if not names:
            return {}
        loads = await self._redis.mget([self._key(name) for name in names])
        lost = [name for name, load in zip(names, loads, strict=True) if load is None]
        if lost:
            await self._redis.srem(self._names(), *lost)  # one that beats again is back
        return {name: int(load) for name, load in zip(names, loads, strict=True) if load is not None}

    def _names(self) -> str:
        return f"{self._prefix}:rtc"

    def _key(self, process: str) -> str:
        return f"{self._prefix}:rtc:{process}"
