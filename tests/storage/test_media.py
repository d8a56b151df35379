from datetime import UTC, datetime, timedelta

import pytest

from core.ids import new_id
from storage.indexes import ensure_indexes
from storage.media import Facts, Media, MediaRepository

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)
FACTS = Facts(size=9, sha256="ab", width=4, height=3, duration=None, thumbnail_size=5)
NO_FACTS = Facts(size=0, sha256="", width=None, height=None, duration=None, thumbnail_size=None)


@pytest.fixture
def media(io_loop, store) -> MediaRepository:
    io_loop.run_sync(lambda: ensure_indexes(store))
    io_loop.run_sync(lambda: store.db["media"].delete_many({}))
    return MediaRepository(store)


async def add(media: MediaRepository, **changes) -> Media:
    new = {
        "_id": new_id(),
        "owner": "owner",
        "status": "uploading",
        "kind": "image",
        "type": "jpeg",
        "mime": "image/jpeg",
        **NO_FACTS,
        "readers": [],
        "visits": [],
        "created_at": AT,
        "ready_at": None,
        "retain_until": None,
        **changes,
    }
    await media.add(dict(new))
    return new


@pytest.mark.gen_test
async def test_a_medium_is_read_as_it_was_stored(media):
    new = await add(media)
    assert await media.get(new["_id"]) == new
    assert await media.get(new_id()) is None


@pytest.mark.gen_test
async def test_many_come_in_the_order_asked_for_without_the_unknown(media):
    first, second = await add(media), await add(media)
    assert await media.many([second["_id"], new_id(), first["_id"]]) == [second, first]
    assert await media.many([]) == []


@pytest.mark.gen_test
async def test_a_medium_becomes_ready_once(media):
    new = await add(media)
    assert await media.make_ready(new["_id"], FACTS, at=AT)
    assert not await media.make_ready(new["_id"], FACTS | {"size": 1}, at=AT)
    assert await media.get(new["_id"]) == {**new, **FACTS, "status": "ready", "ready_at": AT}


@pytest.mark.gen_test
async def test_of_becoming_ready_and_being_discarded_one_wins(media):
    new = await add(media)
    assert await media.discard(new["_id"])
    assert not await media.make_ready(new["_id"], FACTS, at=AT)
    assert not await media.discard(new["_id"])
    assert (await media.get(new["_id"]))["status"] == "discarded"


@pytest.mark.gen_test
async def test_what_is_attached_is_never_discarded(media):
    new = await add(media, status="ready")
    assert await media.attach(new["_id"], owner="owner", visit_id="v", readers={"d"}, retain_until=AT)
    assert not await media.discard(new["_id"])
    assert (await media.get(new["_id"]))["status"] == "ready"


@pytest.mark.gen_test
async def test_only_a_discarded_medium_is_forgotten(media):
    new = await add(media)
    await media.remove(new["_id"])
    assert await media.get(new["_id"]) == new
    await media.discard(new["_id"])
    await media.remove(new["_id"])
    assert await media.get(new["_id"]) is None


@pytest.mark.gen_test
async def test_attaching_adds_once_and_keeps_for_the_longest_time(media):
    new = await add(media, status="ready")
    later = AT + timedelta(days=1)
    for visit, reader, until in (("v1", "d1", later), ("v1", "d1", later), ("v2", "d2", AT)):
        assert await media.attach(
            new["_id"], owner="owner", visit_id=visit, readers={"owner", reader}, retain_until=until
        )
    stored = await media.get(new["_id"])
    assert (stored["visits"], sorted(stored["readers"]), stored["retain_until"]) == (
        ["v1", "v2"],
        ["d1", "d2", "owner"],
        later,
    )


@pytest.mark.parametrize(("changes", "owner"), [({"status": "uploading"}, "owner"), ({"status": "ready"}, "other")])
@pytest.mark.gen_test
async def test_an_unfinished_or_foreign_medium_is_not_attached(media, changes, owner):
    new = await add(media, **changes)
    assert not await media.attach(new["_id"], owner=owner, visit_id="v", readers={"d"}, retain_until=AT)
    assert await media.get(new["_id"]) == new


@pytest.mark.gen_test
async def test_old_media_of_a_state_are_found_by_their_index(media, store):
    old = await add(media, created_at=AT - timedelta(seconds=1))
    await add(media)
    await add(media, status="ready", created_at=AT - timedelta(days=9))
    assert await media.made_before("uploading", AT, 10) == [old]
    plan = await store.db.command(
        {"explain": {"find": "media", "filter": {"status": "uploading", "created_at": {"$lt": AT}}}}
    )
    assert "COLLSCAN" not in str(plan)
