import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import BulkWriteError, WriteConcernError

from core.ids import id_at
from storage.audit import AuditBlockRepository, AuditEntryRepository
from storage.indexes import ensure_indexes
from tests.storage.plans import watched

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)


def an_entry(minute: int = 0, key: str | None = None, **changes):
    at = NOW + timedelta(minutes=minute)
    return {
        "_id": id_at(at, key),
        "at": at,
        "actor": "d1",
        "role": "doctor",
        "act": "visit.read",
        "subject": "visit:v1",
        "frm": None,
        "to": None,
        "reason": None,
        "request": None,
        "address": None,
        "retain_until": at,
        "block": 0,
    } | changes


def a_block(number: int = 1, hash_: str = "h"):
    return {"_id": number, "previous": "", "sealed_at": NOW, "count": 0, "entries": [], "hash": hash_}


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def emptied(io_loop, indexed):
    async def empty():
        for name in ("audit_entries", "audit_blocks", "audit_sealer"):
            await indexed.db[name].delete_many({})

    io_loop.run_sync(empty)
    return indexed


@pytest.fixture
def entries(emptied):
    return AuditEntryRepository(emptied)


@pytest.fixture
def blocks(emptied):
    return AuditBlockRepository(emptied)


# --- entries


@pytest.mark.gen_test
async def test_an_entry_that_is_there_stays_as_it_is_and_does_not_keep_others_out(entries):
    await entries.add([an_entry(0, "k")])
    await entries.add([an_entry(0, "k", actor="other"), an_entry(1)])
    assert [(one["actor"], one["at"]) for one in await entries.unsealed(9)] == [
        ("d1", NOW),
        ("d1", NOW + timedelta(minutes=1)),
    ]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("details", "raised"),
    [
        ({"writeConcernErrors": [{"code": 64}], "writeErrors": []}, WriteConcernError),
        ({"writeErrors": [{"code": 11000}, {"code": 13}]}, BulkWriteError),
    ],
)
async def test_what_may_not_be_stored_is_no_success(entries, monkeypatch, details, raised):
    async def insert_many(documents, ordered):
        raise BulkWriteError(details)

    monkeypatch.setattr(entries, "_docs", type("Docs", (), {"insert_many": staticmethod(insert_many)}))
    with pytest.raises(raised):
        await entries.add([an_entry()])


@pytest.mark.gen_test
async def test_pages_are_newest_first_and_filters_are_all_kept(entries):
    made = [an_entry(minute, subject=f"visit:v{minute % 2}", actor=f"d{minute % 3}") for minute in range(12)]
    made.append(an_entry(20, act="order.read"))
    await entries.add(made)
    newest = [one["_id"] for one in reversed(made)]
    first = await entries.page(limit=5)
    assert [one["_id"] for one in first] == newest[:5]
    assert [one["_id"] for one in await entries.page(limit=99, before=first[-1]["_id"])] == newest[5:]
    both = await entries.page(limit=99, subject="visit:v0", actor="d0")
    assert [one["at"].minute for one in both] == [6, 0]
    span = await entries.page(limit=99, since=NOW + timedelta(minutes=3), until=NOW + timedelta(minutes=5))
    assert [one["at"].minute for one in span] == [4, 3]
    assert [one["at"].minute for one in await entries.page(limit=9, act="order.read")] == [20]


@pytest.mark.gen_test
async def test_a_period_is_read_oldest_first_to_its_last_entry(entries):
    made = [an_entry(minute) for minute in range(450)]
    await entries.add(list(reversed(made)))
    batches = [batch async for batch in entries.between(NOW, NOW + timedelta(minutes=449))]
    assert [one["_id"] for batch in batches for one in batch] == [one["_id"] for one in made[:449]]
    assert max(map(len, batches)) <= 100


@pytest.mark.gen_test
async def test_sealed_entries_bear_their_number_and_wait_no_longer(entries):
    late, other = an_entry(0), an_entry(5)
    await entries.add([other])
    await entries.add([late])
    assert [one["_id"] for one in await entries.unsealed(9)] == [late["_id"], other["_id"]]
    for _ in range(2):
        await entries.seal([late["_id"]], 3)
    assert [one["_id"] for one in await entries.of_block(3)] == [late["_id"]]
    assert (await entries.count_unsealed(9), [one["_id"] for one in await entries.unsealed(9)]) == (1, [other["_id"]])


@pytest.mark.gen_test
async def test_entries_with_numbers_that_no_block_has_are_strays(entries):
    wrong = [an_entry(minute, block=block) for minute, block in enumerate((9, -1, "x", None))]
    await entries.add([*wrong, an_entry(7, block=2), an_entry(8)])
    assert {one["_id"] for one in await entries.strays(2, 9)} == {one["_id"] for one in wrong}


# --- blocks


@pytest.mark.gen_test
async def test_a_number_is_written_once(blocks):
    added = await asyncio.gather(*(blocks.add(a_block(1, str(n))) for n in range(5)))
    assert sorted(added) == [False] * 4 + [True]
    assert (await blocks.get(1))["hash"] == str(added.index(True))
    assert (await blocks.last_number(), await blocks.get(2)) == (1, None)


@pytest.mark.gen_test
async def test_the_lease_is_one_processes_until_it_ends(blocks):
    later = NOW + timedelta(seconds=30)
    taken = await asyncio.gather(*(blocks.take(f"p{n}", now=NOW, until=later) for n in range(5)))
    assert sorted(taken) == [False] * 4 + [True]
    holder = f"p{taken.index(True)}"
    assert await blocks.take(holder, now=NOW, until=later) is True
    assert await blocks.take("next", now=later - timedelta(seconds=1), until=later) is False
    assert await blocks.take("next", now=later, until=later + timedelta(seconds=30)) is True
    assert await blocks.take(holder, now=later, until=later) is False


@pytest.mark.gen_test
async def test_the_head_only_moves_on(blocks):
    assert await blocks.head() == {"number": 0, "hash": ""}
    await blocks.take("p", now=NOW, until=NOW)
    await blocks.finish(2, "b")
    await blocks.finish(1, "a")
    assert await blocks.head() == {"number": 2, "hash": "b"}


@pytest.mark.gen_test
async def test_every_question_is_answered_from_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        found = AuditEntryRepository(store)
        await found.add([an_entry()])
        plans.forget()
        await found.page(limit=5, since=NOW, until=NOW + timedelta(days=1))
        for given in ({"actor": "a"}, {"subject": "s", "act": "x.y"}, {"act": "x.y", "before": "0"}):
            await found.page(limit=5, **given)
        await found.unsealed(5)
        await found.count_unsealed(5)
        await found.of_block(1)
        [_ async for _ in found.between(NOW, NOW + timedelta(days=1))]
        await found.strays(3, 5)
        assert await plans.scans() == []
