"""Passwords of staff, hashed with Argon2id beside the event loop."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

# OWASP's Argon2id setting for small memory (19 MiB, 2 passes, 1 lane): 32 ms of one core and 19 MiB a password here,
# where the library's own default of 64 MiB, 3 passes and 4 lanes takes 146 ms of every core that chat also needs.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# On 2 cores: 30 passwords a second with one thread, 61 with two, 49 with eight (each then takes 137 ms and there are
# eight times 19 MiB). Threads of their own: a wave of logins must not hold up other work that waits for a thread.
_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="password")

# A hash of today's cost that no password is known for.
_NOBODYS_HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43

Result = TypeVar("Result")


async def make_hash(password: str) -> str:
    """The password's hash with its salt and cost, in the PHC string form."""
    return await _beside(functools.partial(_HASHER.hash, password))


async def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the hash is the password's; None stands for an account that is not there and takes just as long.

    A damaged hash is argon2's `VerificationError`: nobody's fault who logs in, so not a wrong password.
    """
    right = await _beside(functools.partial(_verify, password_hash or _NOBODYS_HASH, password))
    return right and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with another cost than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except VerifyMismatchError:
        return False


async def _beside(work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
