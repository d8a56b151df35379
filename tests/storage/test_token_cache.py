import asyncio

import pytest

from scripts.embedded import free_port
from storage.redis import BUS_AWAY, connect
from storage.token_cache import LOCK_SECONDS, SharedTokenCache


@pytest.fixture
def cache(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return SharedTokenCache(redis, "wechat:wx1")


@pytest.mark.gen_test
async def test_a_value_is_seen_by_every_process_until_its_time_is_over(cache, redis):
    assert await cache.get("access_token") is None
    await cache.put("access_token", "令牌-1", seconds=7_000)
    assert await SharedTokenCache(redis, "wechat:wx1").get("access_token") == "令牌-1"
    assert 6_990 <= await redis.ttl("wechat:wx1:access_token") <= 7_000
    await cache.put("access_token", "2", seconds=60)
    assert await cache.get("access_token") == "2"
    assert await redis.ttl("wechat:wx1:access_token") <= 60


@pytest.mark.gen_test
async def test_two_apps_do_not_see_each_other(cache, redis):
    await cache.put("access_token", "1", seconds=60)
    assert await SharedTokenCache(redis, "wechat:wx2").get("access_token") is None


@pytest.mark.gen_test
async def test_one_holder_at_a_time_fetches_for_all(cache, redis):
    fetched = 0

    async def token(mine: SharedTokenCache) -> str:
        nonlocal fetched
        async with mine.lock("access_token"):
            known = await mine.get("access_token")
            if known is None:
                fetched += 1
                known = f"token-{fetched}"
                await mine.put("access_token", known, seconds=60)
            return known

    processes = [SharedTokenCache(redis, "wechat:wx1") for _ in range(8)]
    assert set(await asyncio.gather(*map(token, processes))) == {"token-1"}


@pytest.mark.gen_test
async def test_a_holder_that_dies_lets_go(cache, redis):
    async with cache.lock("access_token"):
        [name] = await redis.keys("*lock*")
        assert 0 < await redis.pttl(name) <= LOCK_SECONDS * 1_000
    assert await redis.keys("*lock*") == []


@pytest.mark.gen_test
async def test_who_waits_too_long_is_told_to_come_back(cache, redis, monkeypatch):
    monkeypatch.setattr("storage.token_cache.LOCK_SECONDS", 0.2)
    await redis.set("wechat:wx1:lock:access_token", b"another's")
    with pytest.raises(BUS_AWAY):
        async with cache.lock("access_token"):
            pytest.fail("two holders")
    assert await redis.get("wechat:wx1:lock:access_token") == b"another's"


@pytest.mark.gen_test
async def test_who_held_too_long_does_not_fail_and_does_not_let_go_for_another(cache, redis):
    async with cache.lock("access_token"):
        await redis.set("wechat:wx1:lock:access_token", b"another's")
    assert await redis.get("wechat:wx1:lock:access_token") == b"another's"


@pytest.mark.gen_test
async def test_a_lock_is_not_a_value(cache):
    async with cache.lock("access_token"):
        assert await cache.get("access_token") is None


@pytest.mark.gen_test(timeout=20)
async def test_without_redis_everything_is_away():
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    cache = SharedTokenCache(client, "wechat:wx1")
    with pytest.raises(BUS_AWAY):
        await cache.get("access_token")
    with pytest.raises(BUS_AWAY):
        await cache.put("access_token", "1", seconds=60)
    with pytest.raises(BUS_AWAY):
        async with cache.lock("access_token"):
            pass
    await client.aclose()
