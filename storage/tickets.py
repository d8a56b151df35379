"""Tickets in Redis: short-lived, for one use, found by the digest of what the bearer holds."""

import json
from collections.abc import Mapping
from typing import cast

from storage.redis import Redis


class Tickets:
    """Every call raises one of `BUS_AWAY` when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def keep(self, digest: str, content: Mapping[str, str], seconds: int) -> None:
        """Issue a ticket that lives `seconds`."""
        await self._redis.set(_key(digest), json.dumps(dict(content)), ex=seconds)

    async def read(self, digest: str) -> dict[str, str] | None:
        """What the ticket stands for, left in place; None when there is none."""
        return _content(await self._redis.get(_key(digest)))

    async def take(self, digest: str) -> dict[str, str] | None:
        """What the ticket stands for, used up by this call; of several takers only one gets it."""
        return _content(await self._redis.getdel(_key(digest)))


def _key(digest: str) -> str:
    return f"ticket:{digest}"


def _content(raw: bytes | str | None) -> dict[str, str] | None:
    return None if raw is None else cast("dict[str, str]", json.loads(raw))
