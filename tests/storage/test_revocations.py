import pytest

from storage.redis import BUS_AWAY, connect
from storage.revocations import Revocations, Standing


@pytest.fixture
def revocations(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return Revocations(redis)


@pytest.mark.gen_test
async def test_nothing_is_known_against_most_tokens(revocations):
    assert await revocations.standing(session="s1", account="a1") == Standing(False, 0)


@pytest.mark.gen_test
async def test_a_session_is_revoked_for_as_long_as_said(revocations, redis):
    await revocations.revoke_session(session="s1", account="a1", seconds=900)
    assert await revocations.standing(session="s1", account="a1") == Standing(True, 0)
    assert await revocations.standing(session="s2", account="a1") == Standing(False, 0)
    (key,) = await redis.keys()
    assert 899 <= await redis.ttl(key) <= 900


@pytest.mark.gen_test
async def test_an_epoch_is_raised_and_never_lowered(revocations, redis):
    for epoch in (2, 5, 3):
        await revocations.set_epoch("a1", epoch, 900)
    assert await revocations.standing(session="s1", account="a1") == Standing(False, 5)
    assert await revocations.standing(session="s1", account="a2") == Standing(False, 0)
    (key,) = await redis.keys()
    assert 899 <= await redis.ttl(key) <= 900


@pytest.mark.gen_test
async def test_a_cluster_keeps_what_is_read_together_in_one_place(revocations, redis):
    await revocations.revoke_session(session="s1", account="a1", seconds=900)
    await revocations.set_epoch("a1", 1, 900)
    assert {key.partition(b"{")[2].partition(b"}")[0] for key in await redis.keys()} == {b"a1"}


@pytest.mark.gen_test
async def test_redis_away_is_told():
    away = connect("redis://127.0.0.1:1")
    with pytest.raises(BUS_AWAY):
        await Revocations(away).standing(session="s1", account="a1")
    await away.aclose()
