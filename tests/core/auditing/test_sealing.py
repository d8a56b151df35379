import asyncio
from datetime import timedelta

import pytest
from pymongo.errors import AutoReconnect

from core import metrics, tasks
from core.auditing import sealing
from core.auditing.sealing import keep, measure, seal
from core.ids import id_at

pytestmark = pytest.mark.gen_test(timeout=30)


async def blocks_of(trail):
    return sorted(await trail.blocks.find({}).to_list(None), key=lambda block: block["_id"])


async def sealed_ids(trail):
    return [sealed["id"] for block in await blocks_of(trail) for sealed in block["entries"]]


async def is_whole(trail) -> bool:
    """Every entry is in exactly one block, bears its number, and the chain holds."""
    ids = await sealed_ids(trail)
    entries = await trail.every()
    numbers = {sealed["id"]: block["_id"] for block in await blocks_of(trail) for sealed in block["entries"]}
    bears = all(entry["block"] == numbers.get(entry["_id"]) for entry in entries)
    return sorted(ids) == [entry["_id"] for entry in entries] and bears and await trail.findings() == []


@pytest.mark.rule("R5-7")
async def test_entries_are_sealed_in_blocks_that_hold_the_hash_of_the_one_before(trail):
    await trail.write(3)
    assert await seal(trail.ctx) == 1
    await trail.write(2)
    assert await seal(trail.ctx) == 1
    first, second = await blocks_of(trail)
    assert (first["_id"], first["previous"], first["count"]) == (1, "", 3)
    assert (second["_id"], second["previous"], second["count"]) == (2, first["hash"], 2)
    assert await is_whole(trail)


async def test_nothing_to_seal_makes_no_block(trail):
    assert await seal(trail.ctx) == 0
    assert await blocks_of(trail) == []


async def test_more_than_one_block_holds_go_into_several(trail, monkeypatch):
    monkeypatch.setattr(sealing, "ENTRIES_A_BLOCK", 3)
    monkeypatch.setattr(sealing, "BLOCKS_A_READ", 2)
    await trail.write(14)
    assert await seal(trail.ctx) == 5
    assert [block["count"] for block in await blocks_of(trail)] == [3, 3, 3, 3, 2]
    assert await is_whole(trail)


async def test_an_entry_that_comes_late_is_sealed_though_its_id_is_older_than_the_last(trail):
    await trail.write()
    await seal(trail.ctx)
    [sealed] = await trail.every()
    late = {**sealed, "_id": id_at(sealed["at"] - timedelta(hours=1)), "block": 0}
    late["at"] -= timedelta(hours=1)
    await trail.ctx.audit.add([late])
    assert await seal(trail.ctx) == 1
    assert await is_whole(trail)


@pytest.mark.parametrize("step", ["seal", "finish"])
async def test_a_kill_after_the_block_was_written_is_finished_by_the_next_run(trail, monkeypatch, step):
    await trail.write(4)

    async def die(self, *given):
        raise AutoReconnect("killed")

    with monkeypatch.context() as dying:
        where = trail.ctx.audit_entries if step == "seal" else trail.ctx.audit_blocks
        dying.setattr(type(where), step, die)
        with pytest.raises(AutoReconnect):
            await seal(trail.ctx)
    assert len(await blocks_of(trail)) == 1
    await trail.write(2)
    assert await seal(trail.ctx) == 1
    assert [block["count"] for block in await blocks_of(trail)] == [4, 2]
    assert await is_whole(trail)


async def test_two_sealers_at_once_seal_each_entry_once(trail):
    for _ in range(5):
        await trail.write(4)
        await asyncio.gather(*(seal(trail.ctx) for _ in range(3)))
    assert await seal(trail.ctx) == 0
    assert await is_whole(trail)


async def test_a_sealer_that_stood_still_before_its_block_is_overtaken_and_changes_nothing(trail, monkeypatch):
    await trail.write(3)
    add = trail.ctx.audit_blocks.add
    overtaking = True

    async def slow(block):
        nonlocal overtaking
        if overtaking:
            overtaking = False
            assert await seal(trail.ctx) == 1
        return await add(block)

    monkeypatch.setattr(trail.ctx.audit_blocks, "add", slow)
    assert await seal(trail.ctx) == 0
    assert len(await blocks_of(trail)) == 1
    assert await is_whole(trail)


async def test_only_the_holder_of_the_lease_copies_and_seals(trail):
    await trail.write()
    now = trail.ctx.clock.now()
    assert await trail.ctx.audit_blocks.take("another", now=now, until=now + timedelta(hours=1)) is True
    assert await keep(trail.ctx) == 0
    await trail.ctx.store.db["audit_sealer"].update_one({}, {"$set": {"until": now}})
    assert await keep(trail.ctx) == 1


async def test_a_move_is_copied_and_sealed_in_one_run(trail):
    case = await trail.house.waiting()
    assert await keep(trail.ctx) == 1
    assert [entry["block"] for entry in await trail.about(f"visit:{case.id}")] == [1, 1]


async def test_what_waits_is_counted_and_its_age_told(trail):
    assert await measure(trail.ctx) == (0, None)
    assert metrics.AUDIT_UNSEALED_AGE._value.get() == 0
    await trail.write(2)
    count, oldest = await measure(trail.ctx)
    assert (count, oldest) == (2, (await trail.every())[0]["at"])
    assert metrics.AUDIT_UNSEALED._value.get() == 2
    await trail.entries.update_many({}, {"$set": {"at": oldest - timedelta(minutes=5)}})
    await measure(trail.ctx)
    assert 300 <= metrics.AUDIT_UNSEALED_AGE._value.get() < 400


async def test_a_move_that_is_not_copied_counts_for_the_age(trail):
    await trail.house.submitted()
    count, oldest = await measure(trail.ctx)
    assert (count, oldest is not None) == (0, True)


async def test_no_request_waits_for_a_sealer(trail, monkeypatch):
    stands = asyncio.Event()
    goes_on = asyncio.Event()
    add = trail.ctx.audit_blocks.add

    async def slow(block):
        stands.set()
        await goes_on.wait()
        return await add(block)

    monkeypatch.setattr(trail.ctx.audit_blocks, "add", slow)
    await trail.write()
    sealer = tasks.spawn("test.seal", seal(trail.ctx))
    await stands.wait()
    await trail.write()
    goes_on.set()
    assert (await sealer, await seal(trail.ctx)) == (1, 1)
    assert await is_whole(trail)
