"""Where a mini-program's access token is kept, so that all processes share one holder."""

import asyncio
import time
from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class TokenCache(Protocol):
    """Short strings under names, each with an expiry, and a lock per name.

    An implementation that many processes share raises `core.ports.Unavailable` when it is away.
    """

    async def get(self, name: str) -> str | None:
        """The value kept under the name; None when there is none or it has expired."""

    async def put(self, name: str, value: str, *, seconds: int) -> None:
        """Keep the value for so many seconds in place of what was there."""

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        """Entered by one holder at a time, in all processes that share the cache.

        A holder makes at most two calls to WeChat inside; a lock with a lease must outlive twice their timeout.
        """


class MemoryTokenCache:
    """A `TokenCache` of one process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, float]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, name: str) -> str | None:
        """The value, None when absent or expired."""
        value, until = self._kept.get(name, ("", 0.0))
        return value if time.monotonic() < until else None

    async def put(self, name: str, value: str, *, seconds: int) -> None:
        """Keep the value for so many seconds."""
        self._kept[name] = (value, time.monotonic() + seconds)

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        """One holder at a time in this process."""
        return self._locks[name]
