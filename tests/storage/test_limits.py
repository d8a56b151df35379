import asyncio

import pytest

from scripts.embedded import free_port
from storage.limits import RateLimiter
from storage.redis import BUS_AWAY


@pytest.fixture
def limiter(io_loop, redis, redis_url):
    made = RateLimiter(redis_url)
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.gen_test
async def test_amount_is_allowed_and_the_next_one_told_how_long_to_wait(limiter):
    assert [await limiter.hit("send", "a1", 3, 60) for _ in range(3)] == [None, None, None]
    wait = await limiter.hit("send", "a1", 3, 60)
    assert 55 < wait <= 60


@pytest.mark.gen_test
async def test_names_and_keys_are_counted_apart(limiter):
    assert await limiter.hit("login", "a1", 1, 60) is None
    assert await limiter.hit("login", "a2", 1, 60) is None
    assert await limiter.hit("code", "a1", 1, 60) is None
    assert await limiter.hit("login", "a1", 1, 60) is not None


@pytest.mark.gen_test
async def test_many_at_once_pass_only_the_amount(limiter):
    outcomes = await asyncio.gather(*(limiter.hit("burst", "a1", 5, 60) for _ in range(40)))
    assert outcomes.count(None) == 5


@pytest.mark.gen_test
async def test_cleared_key_starts_anew(limiter):
    assert await limiter.hit("wrong", "a1", 1, 60) is None
    await limiter.clear("wrong", "a1", 1, 60)
    assert await limiter.hit("wrong", "a1", 1, 60) is None


@pytest.mark.gen_test
async def test_window_moves_on(limiter):
    assert await limiter.hit("quick", "a1", 1, 1) is None
    wait = await limiter.hit("quick", "a1", 1, 1)
    await asyncio.sleep(wait)  # the promise under test is this very time
    assert await limiter.hit("quick", "a1", 1, 1) is None


@pytest.mark.gen_test
async def test_absent_redis_is_told_and_never_lets_through():
    lost = RateLimiter(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(BUS_AWAY):
        await lost.hit("send", "a1", 3, 60)
    await lost.close()
