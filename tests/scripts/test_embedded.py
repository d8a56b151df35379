import asyncio
import os
import select
import signal
import subprocess
import sys

import pytest

from scripts.embedded import EmbeddedMongo, EmbeddedRedis, EmbeddedStores, StartFailed, free_port
from storage.mongo import Store
from storage.redis import connect

pytestmark = pytest.mark.gen_test(timeout=40)


async def test_acknowledged_writes_survive_kill(tmp_path):
    stores = EmbeddedStores.under(tmp_path)
    await stores.start()
    store, redis = await Store.open(stores.mongo.uri, "kept"), connect(stores.redis.url)
    for n in range(30):
        await store.db["acked"].insert_one({"_id": n})
    await redis.set("acked", b"30")
    await asyncio.gather(stores.mongo.kill(), stores.redis.kill())
    await stores.start()
    assert [doc["_id"] for doc in await store.db["acked"].find().sort("_id", 1).to_list(None)] == list(range(30))
    assert await redis.get("acked") == b"30"
    await store.close()
    await redis.aclose()
    await stores.stop()


async def test_stop_ends_both_in_order(tmp_path):
    stores = EmbeddedStores.under(tmp_path)
    await stores.start()
    assert await asyncio.gather(stores.mongo.stop(), stores.redis.stop()) == [0, 0]
    assert (stores.mongo.pid, stores.redis.pid) == (None, None)


@pytest.mark.parametrize("kind", [EmbeddedMongo, EmbeddedRedis])
async def test_taken_port_is_one_clear_line(tmp_path, kind):
    holder = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = holder.sockets[0].getsockname()[1]
    with pytest.raises(StartFailed) as refusal:
        await kind(tmp_path, port=port).start()
    assert str(refusal.value) == f"{kind.name}: port {port} is taken by another program"
    holder.close()
    await holder.wait_closed()


async def test_damaged_folder_is_one_clear_line(tmp_path):
    stores = EmbeddedStores.under(tmp_path)
    await stores.start()
    await stores.stop()
    for file in [*stores.mongo.folder.glob("data/*"), *stores.redis.folder.glob("appendonlydir/*")]:
        if file.is_file():
            file.write_bytes(b"damaged " * 100)
    for one in (stores.mongo, stores.redis):
        with pytest.raises(StartFailed) as refusal:
            await one.start()
        assert str(refusal.value).startswith(f"{one.name}: the data folder {one.folder} could not be opened (")
        assert len(str(refusal.value).splitlines()) == 1
        assert one.pid is None


async def test_folder_in_use_is_one_clear_line(tmp_path, embedded):
    second = EmbeddedMongo(embedded.mongo.folder)
    with pytest.raises(StartFailed) as refusal:
        await second.start()
    assert "could not be opened" in str(refusal.value)
    assert await embedded.mongo.healthy()


async def test_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match="cannot be made"):
        await EmbeddedRedis(tmp_path / "file" / "redis").start()


async def test_health_is_a_write(tmp_path):
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    assert await redis.healthy()
    os.kill(redis.pid, signal.SIGSTOP)  # it still accepts connections
    assert not await redis.healthy(timeout_s=0.2)
    os.kill(redis.pid, signal.SIGCONT)
    await redis.kill()
    assert not await redis.healthy(timeout_s=0.2)


async def test_restart_keeps_the_port(tmp_path):
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    client = connect(redis.url)
    await client.set("kept", b"1")
    first = redis.pid
    await redis.restart()
    assert redis.pid != first
    assert await client.get("kept") == b"1"
    await client.aclose()
    await redis.stop()


PARENT = """
import asyncio, pathlib, sys
from scripts.embedded import EmbeddedStores
async def main():
    stores = EmbeddedStores.under(pathlib.Path(sys.argv[1]))
    await stores.start()
    print(stores.mongo.pid, stores.redis.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_stores_die_with_a_killed_parent_and_do_not_hear_its_ctrl_c(tmp_path):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=subprocess.PIPE, start_new_session=True
    )
    children = [int(pid) for pid in (await parent.stdout.readline()).split()]
    assert len({os.getpgid(child) for child in children} | {parent.pid}) == 3
    handles = [os.pidfd_open(child) for child in children]
    parent.kill()
    await parent.wait()
    for handle in handles:  # readable when its process has ended
        assert (await asyncio.to_thread(select.select, [handle], [], [], 5))[0] == [handle]
        os.close(handle)


async def test_free_port_is_free_and_never_given_to_a_client():
    assert max(free_port() for _ in range(100)) < 32_768
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", free_port())
    server.close()
    await server.wait_closed()
