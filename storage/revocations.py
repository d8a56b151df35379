"""What access tokens no longer count, in Redis: MongoDB has the truth, this is the copy that every request can afford.

An entry lives as long as an access token may, so what has vanished here has also expired. The keys of an account share
a hash tag, so that a cluster answers both in one call.
"""

from dataclasses import dataclass

from storage.redis import Redis

_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '-1') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 0
"""


@dataclass(frozen=True)
class Standing:
    """What is known against a token: its session was revoked; tokens below `epoch` were called back (0: none)."""

    revoked: bool
    epoch: int


class Revocations:
    """Every call raises one of `BUS_AWAY` when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._raise = redis.register_script(_RAISE)

    async def standing(self, *, session: str, account: str) -> Standing:
        """One read."""
        revoked, epoch = await self._redis.mget(_session_key(account, session), _epoch_key(account))
        return Standing(revoked is not None, int(epoch or 0))

    async def revoke_session(self, *, session: str, account: str, seconds: int) -> None:
        """Refuse the session's access tokens for `seconds`, which is at least the life of one."""
        await self._redis.set(_session_key(account, session), b"1", ex=seconds)

    async def set_epoch(self, account: str, epoch: int, seconds: int) -> None:
        """Refuse the account's tokens below this epoch for `seconds`; never lowers it."""
        await self._raise(keys=[_epoch_key(account)], args=[epoch, seconds])


def _session_key(account: str, session: str) -> str:
    return f"revoked:{{{account}}}:{session}"


def _epoch_key(account: str) -> str:
    return f"epoch:{{{account}}}"
