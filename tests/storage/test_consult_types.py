from datetime import UTC, datetime

import pytest

from core.ids import new_id
from storage.consult_types import ConsultTypeRepository, NameTaken
from storage.indexes import ensure_indexes
from tests.storage.plans import watched

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


def kind(name: str, **changes):
    return {"_id": new_id(), "name": name, "order": 1, "enabled": True, "version": 1, "history": []} | changes


@pytest.fixture
def types(io_loop, store):
    async def empty():
        await store.db["consult_types"].delete_many({})
        await ensure_indexes(store)
        return ConsultTypeRepository(store)

    return io_loop.run_sync(empty)


@pytest.mark.gen_test
async def test_types_are_listed_in_their_order_and_disabled_ones_only_to_the_office(types):
    last, first, disabled = kind("三", order=3), kind("一"), kind("二", order=2, enabled=False)
    for one in (last, first, disabled):
        assert await types.add(one) is True
    assert await types.enabled() == [first, last]
    assert await types.every() == [first, disabled, last]


@pytest.mark.gen_test
async def test_name_is_taken_by_new_and_by_renamed_types(types):
    first, second = kind("一"), kind("二")
    await types.add(first)
    await types.add(second)
    assert await types.add(kind("一")) is False
    with pytest.raises(NameTaken):
        await types.change(second["_id"], seen_version=1, values={"name": "一"}, entries=[], at=AT)
    assert await types.get(second["_id"]) == second


@pytest.mark.gen_test
async def test_change_is_made_only_to_the_version_seen(types):
    one = kind("一")
    await types.add(one)
    entry = {"act": "disable"}
    assert await types.change(one["_id"], seen_version=1, values={"enabled": False}, entries=[entry], at=AT) is True
    assert await types.change(one["_id"], seen_version=1, values={"enabled": True}, entries=[entry], at=AT) is False
    assert await types.get(one["_id"]) == one | {
        "enabled": False,
        "version": 2,
        "updated_at": AT,
        "history": [entry],
    }


@pytest.mark.gen_test
async def test_enabled_types_are_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await ConsultTypeRepository(store).enabled()
        await ConsultTypeRepository(store).get("x")
        assert await plans.scans() == []
