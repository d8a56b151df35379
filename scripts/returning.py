"""How a client comes back: every program of ours that plays one keeps to these rules, as the protocol asks."""

import random
import re
from typing import Final

OVERLOADED: Final = 4013
# Full jitter: any moment up to a bound that doubles. Clients that lost one server together come back spread.
FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 16.0
_ASKED: Final = re.compile(r"retry_after_ms=(\d{1,6})")


def pause_before(
    tries: int, code: int | None, reason: str, chance: random.Random, *, longest: float = LONGEST_SECONDS
) -> float:
    """Seconds to wait before connecting again after `tries` in vain since the last hello that was answered.

    A server that is overloaded (4013) has said in the reason when to come, spread by itself.
    """
    asked = _ASKED.fullmatch(reason) if code == OVERLOADED else None
    if asked is not None:
        return int(asked[1]) / 1000
    return chance.uniform(0, min(longest, FIRST_SECONDS * 2 ** min(tries, 10)))
