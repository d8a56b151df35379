from dataclasses import replace

import pytest

from storage.indexes import INDEXES, Index, ascending, ensure_indexes, fingerprint
from storage.mongo import DuplicateKey
from tests.storage.plans import is_scan


@pytest.mark.gen_test(timeout=20)
async def test_indexes_are_made_as_the_table_says_and_again_without_harm(store):
    await ensure_indexes(store)
    await ensure_indexes(store)
    for name, wanted in INDEXES.items():
        made = await store.db[name].index_information()
        assert sorted(one["key"] for one in made.values()) == sorted([[("_id", 1)], *(list(i.keys) for i in wanted)])


def test_no_collection_names_the_same_keys_twice():
    for name, rows in INDEXES.items():
        assert len({row.keys for row in rows}) == len(rows), name


@pytest.mark.gen_test
async def test_every_index_serves_equality_on_its_prefix_and_one_range(store):
    await ensure_indexes(store)
    for name, rows in INDEXES.items():
        for row in rows:
            *prefix, last = [key for key, _ in row.keys]
            in_range = {"$gt": "a", "$lte": "b"} if row.partial is None else "x"
            only = (row.partial or {}).get(last)
            query = dict.fromkeys(prefix, "x") | {last: only if isinstance(only, str) else in_range}
            assert not await is_scan(store, name, query), (name, query)


@pytest.mark.gen_test
async def test_scan_is_told(store):
    assert await is_scan(store, "visits", {"colour": "red"})


@pytest.mark.gen_test
async def test_partial_unique_index_leaves_documents_without_the_field_alone(store):
    await ensure_indexes(store)
    visits = store.db["visits"]
    await visits.insert_many([{"_id": "1", "patient_account": "p"}, {"_id": "2", "patient_account": "p"}])
    await visits.insert_one({"_id": "3", "patient_account": "p", "request_id": "r"})
    with pytest.raises(DuplicateKey):
        await visits.insert_one({"_id": "4", "patient_account": "p", "request_id": "r"})
    await visits.insert_one({"_id": "5", "patient_account": "q", "request_id": "r"})
    assert [visit["_id"] async for visit in visits.find().sort("_id", 1)] == ["1", "2", "3", "5"]


def test_fingerprint_follows_every_part_of_the_table():
    table = {"a": [ascending("x")]}
    changes = [
        {"a": [ascending("x", unique=True)]},
        {"a": [ascending("y")]},
        {"b": [ascending("x")]},
        {"a": [ascending("x", partial={"x": {"$type": "string"}})]},
        {"a": [replace(Index((("x", 1),)), expire_after_s=5)]},
        {"a": [ascending("x"), ascending("y")]},
    ]
    assert len({fingerprint(table), *map(fingerprint, changes)}) == 7
    assert fingerprint({"a": [ascending("x")], "b": []}) == fingerprint({"b": [], "a": [ascending("x")]})
