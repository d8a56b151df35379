import asyncio

import pytest

from scripts.bench.journal import Bench, closed_loops


@pytest.mark.gen_test(timeout=30)
async def test_both_sides_store_every_message_once_and_number_it(mongo_uri, redis_url, monkeypatch):
    monkeypatch.setattr("scripts.bench.journal._DATABASE", "bench_test")
    async with Bench.open(mongo_uri, redis_url) as bench:
        await bench._store.drop()
        inserted = await bench.inserts(3, 2)
        posted = await bench.posts(3, 2)
        inserts = await bench._store.db["inserts"].find().to_list(None)
        messages = await bench._store.db["messages"].find().to_list(None)
        await bench._store.drop()
    assert sorted(document["seq"] for document in inserts) == [1, 1, 1, 2, 2, 2]
    # The first of each conversation is stored before the clock starts.
    assert sorted(document["seq"] for document in messages) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert inserts[0].keys() == messages[0].keys()
    assert min(*inserted, *posted) > 0


@pytest.mark.gen_test
async def test_senders_go_side_by_side_and_each_in_order():
    steps: list[tuple[int, int]] = []

    async def step(sender: int, number: int) -> None:
        steps.append((sender, number))
        await asyncio.sleep(0)

    await closed_loops(step, 2, 3)
    assert steps == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
