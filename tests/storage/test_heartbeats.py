import pytest

from storage import heartbeats
from storage.heartbeats import Heartbeats


@pytest.fixture
def beats(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return Heartbeats(redis, "hospital")


@pytest.mark.gen_test
async def test_those_that_beat_live_with_their_load(beats):
    assert await beats.living() == {}
    await beats.beat("p1", 3)
    await beats.beat("p2", 0)
    await beats.beat("p1", 4)
    assert await beats.living() == {"p1": 4, "p2": 0}


@pytest.mark.gen_test
async def test_one_that_leaves_or_has_not_beaten_for_three_seconds_is_gone(beats, redis):
    await beats.beat("p1", 1)
    await beats.beat("p2", 1)
    assert 2_000 < await redis.pttl("hospital:rtc:p1") <= heartbeats.LOST_AFTER_SECONDS * 1000
    await redis.delete("hospital:rtc:p1")  # as its end would
    await beats.leave("p2")
    assert await beats.living() == {}
    assert await redis.smembers("hospital:rtc") == set()


@pytest.mark.gen_test
async def test_one_that_beats_again_is_back(beats, redis):
    await beats.beat("p1", 1)
    await redis.delete("hospital:rtc:p1")
    await beats.living()
    await beats.beat("p1", 2)
    assert await beats.living() == {"p1": 2}


@pytest.mark.gen_test
async def test_hospitals_on_one_redis_do_not_see_each_others(beats, redis):
    await Heartbeats(redis, "other").beat("p1", 1)
    assert await beats.living() == {}
