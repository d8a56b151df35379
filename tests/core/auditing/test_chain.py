"""Each way in which somebody with the database in their hands may tamper with the trail is found."""

from datetime import timedelta

import pytest

from core.auditing import rules, sealing
from core.auditing.chain import Chain
from core.ids import id_at

pytestmark = [pytest.mark.gen_test(timeout=30), pytest.mark.rule("R5-7")]


@pytest.fixture
def chained(trail, io_loop, monkeypatch):
    """Four blocks of three entries."""
    monkeypatch.setattr(sealing, "ENTRIES_A_BLOCK", 3)

    async def begin():
        await trail.write(12)
        assert await sealing.seal(trail.ctx) == 4

    io_loop.run_sync(begin)
    return trail


async def entry_of(trail, number):
    found = await trail.entries.find({"block": number}).to_list(None)
    return min(found, key=lambda one: one["_id"])


async def test_a_chain_that_nobody_touched_holds(chained):
    assert await chained.findings() == []


@pytest.mark.parametrize("change", [{"actor": "somebody"}, {"subject": None}, {"retain_until": None}, {"more": 1}])
async def test_an_altered_entry_is_found(chained, change):
    entry = await entry_of(chained, 2)
    await chained.entries.update_one({"_id": entry["_id"]}, {"$set": change})
    assert await chained.findings() == [("entry_altered", 2)]


async def test_a_removed_entry_is_found(chained):
    await chained.entries.delete_one({"_id": (await entry_of(chained, 3))["_id"]})
    assert await chained.findings() == [("entry_missing", 3)]


async def test_an_entry_slipped_into_a_sealed_block_is_found(chained):
    entry = await entry_of(chained, 1)
    await chained.entries.insert_one({**entry, "_id": id_at(entry["at"])})
    assert await chained.findings() == [("entry_alien", 1)]


@pytest.mark.parametrize("block", [99, -1, None, "1"])
async def test_an_entry_with_a_number_that_no_block_has_is_found(chained, block):
    entry = await entry_of(chained, 1)
    await chained.entries.insert_one({**entry, "_id": id_at(entry["at"]), "block": block})
    assert await chained.findings() == [("entry_alien", None)]


async def test_an_entry_moved_to_another_block_is_found_in_both(chained):
    await chained.entries.update_one({"_id": (await entry_of(chained, 1))["_id"]}, {"$set": {"block": 2}})
    assert await chained.findings() == [("entry_missing", 1), ("entry_alien", 2)]


async def test_an_altered_block_is_found(chained):
    await chained.blocks.update_one({"_id": 2}, {"$set": {"sealed_at": chained.ctx.clock.now() + timedelta(1)}})
    assert await chained.findings() == [("block_altered", 2)]


async def test_an_altered_block_with_its_hash_made_anew_breaks_the_joint_to_the_next(chained):
    block = await chained.blocks.find_one({"_id": 2})
    block["sealed_at"] += timedelta(1)
    await chained.blocks.update_one(
        {"_id": 2}, {"$set": {"sealed_at": block["sealed_at"], "hash": rules.block_hash(block)}}
    )
    assert await chained.findings() == [("chain_broken", 3)]


@pytest.mark.parametrize("number", [1, 2])
async def test_a_removed_block_is_found(chained, number):
    await chained.blocks.delete_one({"_id": number})
    assert (await chained.findings())[0] == ("block_missing", number)


async def test_the_end_of_the_chain_cannot_be_taken_off_unseen(chained):
    await chained.blocks.delete_many({"_id": {"$gte": 3}})
    await chained.entries.delete_many({"block": {"$gte": 3}})
    assert await chained.findings() == [("block_missing", 3), ("block_missing", 4)]


async def test_the_end_cannot_be_written_anew_unseen(chained):
    block = await chained.blocks.find_one({"_id": 4})
    block["entries"], block["count"] = block["entries"][:2], 2
    await chained.entries.delete_one({"_id": {"$nin": [one["id"] for one in block["entries"]]}, "block": 4})
    await chained.blocks.replace_one({"_id": 4}, {**block, "hash": rules.block_hash(block)})
    assert await chained.findings() == [("head_differs", 4)]


async def test_swapped_blocks_are_found(chained):
    second, third = [await chained.blocks.find_one({"_id": number}) for number in (2, 3)]
    await chained.blocks.replace_one({"_id": 2}, {**third, "_id": 2})
    await chained.blocks.replace_one({"_id": 3}, {**second, "_id": 3})
    found = await chained.findings()
    assert {("block_altered", 2), ("chain_broken", 2), ("block_altered", 3), ("chain_broken", 3)} <= set(found)


async def test_swapped_entries_of_a_block_are_found(chained):
    block = await chained.blocks.find_one({"_id": 1})
    await chained.blocks.update_one({"_id": 1}, {"$set": {"entries": block["entries"][::-1]}})
    assert await chained.findings() == [("block_altered", 1)]


async def test_a_block_put_behind_the_end_is_found(chained):
    block = await chained.blocks.find_one({"_id": 4})
    await chained.blocks.insert_one({**block, "_id": 6})
    found = await chained.findings()
    assert ("block_missing", 5) in found
    assert ("head_differs", 4) in found


async def test_what_waits_too_long_is_told(chained):
    await chained.write(1)
    chain, now = Chain(chained.ctx.audit_blocks, chained.ctx.audit_entries), chained.ctx.clock.now()
    assert await chain.overdue(now - timedelta(minutes=1), 9) == []
    waiting = [entry["_id"] for entry in await chained.every() if entry["block"] == 0]
    assert [one.entry for one in await chain.overdue(now + timedelta(minutes=1), 9)] == waiting
