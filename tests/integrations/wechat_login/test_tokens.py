import asyncio

import pytest

from integrations.wechat_login import MemoryTokenCache


@pytest.mark.gen_test
async def test_kept_value_is_answered_until_it_is_replaced():
    cache = MemoryTokenCache()
    assert await cache.get("name") is None
    await cache.put("name", "first", seconds=60)
    await cache.put("name", "second", seconds=60)
    assert (await cache.get("name"), await cache.get("other")) == ("second", None)


@pytest.mark.gen_test
async def test_expired_value_is_gone():
    cache = MemoryTokenCache()
    await cache.put("name", "value", seconds=0)
    assert await cache.get("name") is None


@pytest.mark.gen_test
async def test_lock_has_one_holder_at_a_time_for_each_name():
    cache = MemoryTokenCache()
    inside, most = 0, 0

    async def hold():
        nonlocal inside, most
        async with cache.lock("name"):
            inside += 1
            most = max(most, inside)
            async with cache.lock("other"):
                pass
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(5)))
    assert most == 1
