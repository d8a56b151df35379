import random

import pytest

from scripts.returning import FIRST_SECONDS, LONGEST_SECONDS, pause_before


def pauses(tries: int, code=None, reason="", **how) -> list[float]:
    chance = random.Random(5)
    return [pause_before(tries, code, reason, chance, **how) for _ in range(2_000)]


def test_a_server_that_sheds_says_when_to_come():
    assert set(pauses(3, 4013, "retry_after_ms=2500")) == {2.5}


@pytest.mark.parametrize(("code", "reason"), [(4013, ""), (4013, "later"), (1006, "retry_after_ms=2500"), (None, "")])
def test_everybody_else_comes_at_a_moment_of_their_own(code, reason):
    waited = pauses(0, code, reason)
    assert 0 <= min(waited) < 0.05 * FIRST_SECONDS
    assert 0.95 * FIRST_SECONDS < max(waited) <= FIRST_SECONDS


def test_who_comes_in_vain_waits_longer_and_at_last_no_longer():
    bounds = [max(pauses(tries)) for tries in range(8)]
    assert bounds == sorted(bounds)
    assert 0.95 * LONGEST_SECONDS < bounds[-1] <= LONGEST_SECONDS
    assert max(pauses(50, longest=0.5)) <= 0.5
