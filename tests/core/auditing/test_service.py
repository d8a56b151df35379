import asyncio
import json
from datetime import timedelta

import pytest

from core import tasks
from core.auditing import sealing, service

pytestmark = pytest.mark.gen_test(timeout=30)
NOTHING = dict.fromkeys(("cursor", "actor", "act", "subject", "since", "until"))


async def test_one_entry_more_than_asked_for_tells_that_there_is_more(trail):
    await trail.write(4)
    assert len(await service.entries(trail.ctx, limit=2, **NOTHING)) == 3
    assert len(await service.entries(trail.ctx, limit=9, **NOTHING)) == 4


async def test_the_chain_is_checked_in_stretches_and_loose_ends_at_its_end(trail, monkeypatch):
    monkeypatch.setattr(sealing, "ENTRIES_A_BLOCK", 2)
    await trail.write(6)
    await sealing.seal(trail.ctx)
    stray = await trail.entries.find_one({"block": 1})
    await trail.entries.update_one({"_id": stray["_id"]}, {"$set": {"block": 9}})
    first = await service.check(trail.ctx, after=0, limit=2)
    last = await service.check(trail.ctx, after=first["next_after"], limit=2)
    assert (first["checked"], first["next_after"], [one.kind for one in first["findings"]]) == (2, 2, ["entry_missing"])
    assert (last["checked"], last["next_after"], [one.kind for one in last["findings"]]) == (1, None, ["entry_alien"])
    assert last["head"]["number"] == 3


async def test_a_stretch_that_begins_in_the_middle_knows_the_block_before(trail, monkeypatch):
    monkeypatch.setattr(sealing, "ENTRIES_A_BLOCK", 1)
    await trail.write(3)
    await sealing.seal(trail.ctx)
    await trail.blocks.update_one({"_id": 1}, {"$set": {"hash": "x"}})
    found = await service.check(trail.ctx, after=1, limit=1)
    assert [(one.kind, one.block) for one in found["findings"]] == [("chain_broken", 2)]


async def test_what_waits_is_told_and_is_a_finding_after_a_minute(trail):
    await trail.write(1)
    fresh = await service.check(trail.ctx, after=0, limit=5)
    assert (fresh["unsealed"]["count"], fresh["findings"]) == (1, [])
    await trail.entries.update_many({}, {"$set": {"at": trail.ctx.clock.now() - timedelta(minutes=3)}})
    late = await service.check(trail.ctx, after=0, limit=5)
    assert [one.kind for one in late["findings"]] == ["entry_unsealed"]
    assert 180 <= late["unsealed"]["age_seconds"] < 240


async def test_an_empty_trail_has_nothing_wrong(trail):
    assert await service.check(trail.ctx, after=0, limit=5) == {
        "head": {"number": 0, "hash": ""},
        "checked": 0,
        "findings": [],
        "unsealed": {"count": 0, "oldest_at": None, "age_seconds": 0.0},
        "next_after": None,
    }


async def test_others_are_served_between_two_blocks_of_a_check(trail, monkeypatch):
    monkeypatch.setattr(sealing, "ENTRIES_A_BLOCK", 1)
    await trail.write(10)
    await sealing.seal(trail.ctx)
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = tasks.spawn("test.turns", count_turns())
    await service.check(trail.ctx, after=0, limit=10)
    other.cancel()
    assert turns >= 20


async def test_an_export_is_a_line_of_json_an_entry_oldest_first(trail):
    subjects = await trail.write(3)
    now = trail.ctx.clock.now()
    span = {"since": now - timedelta(minutes=1), "until": now + timedelta(minutes=1)}
    text = "".join([piece async for piece in service.export(trail.ctx, **span)])
    assert {json.loads(line)["subject"] for line in text.splitlines()} == set(subjects)
    empty = {"since": now + timedelta(minutes=1), "until": now + timedelta(minutes=2)}
    assert [piece async for piece in service.export(trail.ctx, **empty)] == []
