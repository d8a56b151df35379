"""Text-message codes in Redis: the digest of one code for each phone and purpose, and what limits asking for more.

A phone is named by its blind index. Its keys share a hash tag, because each call is one script over several of them:
checking and changing in one step is what makes "once" and "at most" true for requests that arrive together.
"""

from dataclasses import dataclass
from typing import Final

from storage.redis import Redis

_DAY_MS: Final = 24 * 60 * 60 * 1000

# pause, day, code | digest, pause ms, codes a day, day ms, life ms
_PUT = """
local pause = redis.call('PTTL', KEYS[1])
if pause > 0 then return pause end
local sent = tonumber(redis.call('GET', KEYS[2]) or '0')
if sent >= tonumber(ARGV[3]) then return redis.call('PTTL', KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('INCR', KEYS[2]) == 1 then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'digest', ARGV[1], 'tries', 0)
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return 0
"""

# pause, day, code | digest
_DROP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[3])
if tonumber(redis.call('GET', KEYS[2]) or '0') > 0 then redis.call('DECR', KEYS[2]) end
return 1
"""

# code | digest, tries
_USE = """
local kept = redis.call('HGET', KEYS[1], 'digest')
if not kept then return 0 end
if kept == ARGV[1] then redis.call('DEL', KEYS[1]) return 1 end
if redis.call('HINCRBY', KEYS[1], 'tries', 1) >= tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True)
class CodeTerms:
    """How long a code lives, the pause before the next, and how many a phone gets in 24 hours from its first."""

    seconds: int
    pause_seconds: int
    daily: int


class LoginCodes:
    """Every call raises one of `BUS_AWAY` when Redis is away. `slot` is the phone's blind index."""

    def __init__(self, redis: Redis) -> None:
        self._put = redis.register_script(_PUT)
        self._drop = redis.register_script(_DROP)
        self._use = redis.register_script(_USE)

    async def put(self, slot: str, purpose: str, digest: str, terms: CodeTerms) -> float | None:
        """Keep a new code in place of an earlier one; seconds to wait when it is too soon or too many, else None."""
        arguments: list[str | int] = [digest, terms.pause_seconds * 1000, terms.daily, _DAY_MS, terms.seconds * 1000]
        wait_ms = await self._put(keys=_keys(slot, purpose), args=arguments)
        return wait_ms / 1000 if wait_ms else None

    async def drop(self, slot: str, purpose: str, digest: str) -> bool:
        """Undo `put` of a code that could not be sent; False: another has taken its place."""
        return bool(await self._drop(keys=_keys(slot, purpose), args=[digest]))

    async def use(self, slot: str, purpose: str, digest: str, tries: int) -> bool:
        """Whether this is the code, which is used up then; the last of `tries` wrong ones ends the code."""
        return bool(await self._use(keys=_keys(slot, purpose)[2:], args=[digest, tries]))


def _keys(slot: str, purpose: str) -> list[str]:
    return [f"code:{{{slot}}}:pause:{purpose}", f"code:{{{slot}}}:day", f"code:{{{slot}}}:code:{purpose}"]
