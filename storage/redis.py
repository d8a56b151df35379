"""The one door to Redis: a client that waits for its turn, answers within seconds and repeats a lost call once."""

from typing import Any, TypeAlias

from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as _Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Redis: TypeAlias = _Redis

# What the doors answer with 503 `unavailable`: no link, no answer in time, or still reading its file after a start
# (BusyLoadingError is a ConnectionError).
BUS_AWAY: tuple[type[BaseException], ...] = (RedisConnectionError, RedisTimeoutError)

SOCKET_SECONDS = 2.0
_POOL_SECONDS = 2.0
_CONNECTIONS = 50


def pool(url: str, *, connections: int = _CONNECTIONS) -> BlockingConnectionPool:
    """A pool that makes callers wait when all connections are busy; the driver's default one raises instead.

    A command is sent once more when its link turned out to be lost (a restarted server leaves stale links in the
    pool), never after a time-out.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": SOCKET_SECONDS,
        "socket_keepalive": True,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    made: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url, max_connections=connections, timeout=_POOL_SECONDS, **options
    )
    return made


def connect(url: str, *, connections: int = _CONNECTIONS) -> Redis:
    """A client of its own pool; `await client.aclose()` ends both. Connects at first use; raises `BUS_AWAY` then."""
    return Redis.from_pool(pool(url, connections=connections))
