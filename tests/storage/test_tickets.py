import asyncio

import pytest

from storage.tickets import Tickets

CONTENT = {"account": "a1", "session": "s1"}


@pytest.fixture
def tickets(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return Tickets(redis)


@pytest.mark.gen_test
async def test_a_ticket_is_read_in_place_and_taken_once(tickets):
    await tickets.keep("d1", CONTENT, 60)
    assert await tickets.read("d1") == CONTENT
    assert await tickets.read("d1") == CONTENT
    assert await tickets.take("d1") == CONTENT
    assert await tickets.take("d1") is None
    assert await tickets.read("d1") is None


@pytest.mark.gen_test
async def test_of_simultaneous_takers_one_gets_it(tickets):
    await tickets.keep("d1", CONTENT, 60)
    taken = await asyncio.gather(*(tickets.take("d1") for _ in range(8)))
    assert [one for one in taken if one is not None] == [CONTENT]


@pytest.mark.gen_test
async def test_a_ticket_ends_after_its_seconds(tickets, redis):
    await tickets.keep("d1", CONTENT, 60)
    (key,) = await redis.keys()
    assert 59 <= await redis.ttl(key) <= 60
