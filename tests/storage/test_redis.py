import asyncio

import pytest
from redis.asyncio import BlockingConnectionPool

from scripts.embedded import EmbeddedRedis, free_port
from storage.redis import BUS_AWAY, connect


@pytest.mark.gen_test
async def test_more_callers_than_connections_wait_for_their_turn(redis_url, redis):
    narrow = connect(redis_url, connections=3)
    assert isinstance(narrow.connection_pool, BlockingConnectionPool)
    counted = await asyncio.gather(*(narrow.incr("turns") for _ in range(300)))
    assert sorted(counted) == list(range(1, 301))
    await narrow.aclose()


@pytest.mark.gen_test
async def test_absent_server_is_away():
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(BUS_AWAY):
        await client.get("x")
    await client.aclose()


@pytest.mark.gen_test
async def test_silent_server_is_away_after_two_seconds():
    hung_up = asyncio.Event()

    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect(f"redis://127.0.0.1:{port}/0")
    began = asyncio.get_running_loop().time()
    with pytest.raises(BUS_AWAY):
        await client.get("x")
    assert asyncio.get_running_loop().time() - began < 4.5
    await client.aclose()
    await hung_up.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.gen_test
async def test_restarted_server_is_found_by_the_next_command(tmp_path):
    server = EmbeddedRedis(tmp_path)
    await server.start()
    client = connect(server.url)
    await client.set("kept", b"1")
    await server.kill()
    await server.start()
    assert await client.get("kept") == b"1"
    await client.aclose()
    await server.stop()
