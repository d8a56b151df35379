import asyncio
from dataclasses import replace

import pytest

from storage.login_codes import CodeTerms, LoginCodes

TERMS = CodeTerms(seconds=300, pause_seconds=60, daily=3)


@pytest.fixture
def codes(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return LoginCodes(redis)


async def _pass_the_pause(redis):
    await redis.delete(*await redis.keys("*:pause:*"))


@pytest.mark.gen_test
async def test_a_code_is_used_once_also_by_many_at_once(codes):
    assert await codes.put("p1", "login", "d1", TERMS) is None
    used = await asyncio.gather(*(codes.use("p1", "login", "d1", 5) for _ in range(8)))
    assert used.count(True) == 1


@pytest.mark.gen_test
async def test_the_last_wrong_try_ends_the_code(codes):
    await codes.put("p1", "login", "d1", TERMS)
    assert [await codes.use("p1", "login", "wrong", 2) for _ in range(2)] == [False, False]
    assert await codes.use("p1", "login", "d1", 2) is False


@pytest.mark.gen_test
async def test_of_simultaneous_requests_one_code_is_kept(codes):
    waits = await asyncio.gather(*(codes.put("p1", "login", f"d{n}", TERMS) for n in range(6)))
    assert waits.count(None) == 1
    assert await codes.use("p1", "login", f"d{waits.index(None)}", 5) is True


@pytest.mark.gen_test
async def test_the_pause_is_of_one_phone_and_purpose(codes):
    assert await codes.put("p1", "login", "d1", TERMS) is None
    assert 59 < await codes.put("p1", "login", "d2", TERMS) <= 60
    assert await codes.put("p1", "sign", "d3", TERMS) is None
    assert await codes.put("p2", "login", "d4", TERMS) is None


@pytest.mark.gen_test
async def test_the_days_number_is_of_all_purposes_together(codes, redis):
    for purpose in ("login", "bind", "sign"):
        assert await codes.put("p1", purpose, "d", TERMS) is None
    await _pass_the_pause(redis)
    assert 86_399 < await codes.put("p1", "login", "d", TERMS) <= 86_400
    assert await codes.put("p1", "login", "d", replace(TERMS, daily=4)) is None


@pytest.mark.gen_test
async def test_a_dropped_code_leaves_neither_code_nor_pause_nor_count(codes):
    for _ in range(5):
        assert await codes.put("p1", "login", "d1", TERMS) is None
        assert await codes.drop("p1", "login", "d1") is True
    assert await codes.use("p1", "login", "d1", 5) is False


@pytest.mark.gen_test
async def test_dropping_leaves_a_later_code_alone(codes, redis):
    await codes.put("p1", "login", "d1", TERMS)
    await _pass_the_pause(redis)
    await codes.put("p1", "login", "d2", TERMS)
    assert await codes.drop("p1", "login", "d1") is False
    assert await codes.use("p1", "login", "d2", 5) is True


@pytest.mark.gen_test
async def test_a_code_lives_as_long_as_said(codes, redis):
    await codes.put("p1", "login", "d1", TERMS)
    assert 299 <= await redis.ttl(b"code:{p1}:code:login") <= 300
    assert await codes.use("p1", "sign", "d1", 5) is False
