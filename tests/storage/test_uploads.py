from datetime import UTC, datetime, timedelta

import pytest

from core.ids import new_id
from storage.indexes import ensure_indexes
from storage.uploads import Upload, UploadRepository
from tests.storage.plans import watched

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)
LATER = AT + timedelta(seconds=60)


@pytest.fixture
def uploads(io_loop, store) -> UploadRepository:
    io_loop.run_sync(lambda: ensure_indexes(store))
    io_loop.run_sync(lambda: store.db["uploads"].delete_many({}))
    return UploadRepository(store)


async def add(uploads: UploadRepository, **changes) -> Upload:
    new = {
        "_id": new_id(),
        "owner": "owner",
        "status": "open",
        "length": 100,
        "offset": 0,
        "declared": "image/png",
        "metadata": "filetype aW1hZ2UvcG5n",
        "media_id": None,
        "attempts": [],
        "claimed_until": AT,
        "created_at": AT,
        "expires_at": LATER,
        **changes,
    }
    await uploads.add(dict(new))
    return new


@pytest.mark.gen_test
async def test_an_upload_is_read_as_it_was_stored(uploads):
    new = await add(uploads)
    assert await uploads.get(new["_id"]) == new
    assert await uploads.get(new_id()) is None


@pytest.mark.gen_test
async def test_the_offset_only_grows_and_only_while_it_is_open(uploads):
    new = await add(uploads)
    for offset in (10, 5):
        assert await uploads.advance(new["_id"], offset)
    assert (await uploads.get(new["_id"]))["offset"] == 10
    assert await uploads.receive(new["_id"], at=LATER)
    assert not await uploads.receive(new["_id"], at=AT)
    assert not await uploads.advance(new["_id"], 20)
    assert await uploads.get(new["_id"]) == {**new, "status": "received", "offset": 10, "claimed_until": LATER}


@pytest.mark.gen_test
async def test_one_claims_at_a_time_and_the_last_to_claim_decides(uploads):
    new = await add(uploads, status="received")
    assert await uploads.claim(new["_id"], "m1", at=AT, until=LATER)
    assert not await uploads.claim(new["_id"], "m2", at=LATER - timedelta(seconds=1), until=LATER)
    assert await uploads.claim(new["_id"], "m2", at=LATER, until=LATER + timedelta(seconds=60))
    await uploads.release(new["_id"], "m1", at=AT)
    assert not await uploads.make_ready(new["_id"], "m1")
    assert await uploads.make_ready(new["_id"], "m2")
    done = await uploads.get(new["_id"])
    assert (done["status"], done["media_id"], done["attempts"]) == ("ready", "m2", ["m1", "m2"])
    assert not await uploads.claim(new["_id"], "m3", at=LATER + timedelta(days=1), until=LATER)


@pytest.mark.gen_test
async def test_a_released_claim_is_free_at_once(uploads):
    new = await add(uploads, status="received")
    assert await uploads.claim(new["_id"], "m1", at=AT, until=LATER)
    assert await uploads.unclaimed(AT, 10) == []
    await uploads.release(new["_id"], "m1", at=AT)
    assert [one["_id"] for one in await uploads.unclaimed(AT, 10)] == [new["_id"]]
    assert await uploads.claim(new["_id"], "m2", at=AT, until=LATER)


@pytest.mark.gen_test
async def test_an_open_upload_is_not_claimed(uploads):
    new = await add(uploads)
    assert not await uploads.claim(new["_id"], "m1", at=AT, until=LATER)
    assert await uploads.get(new["_id"]) == new


@pytest.mark.gen_test
async def test_it_is_discarded_from_the_state_named_and_forgets_what_was_said(uploads):
    new = await add(uploads, status="received", media_id="m1", attempts=["m1"])
    assert not await uploads.discard(new["_id"], "open")
    assert await uploads.discard(new["_id"], "received")
    assert await uploads.get(new["_id"]) == {**new, "status": "discarded", "metadata": ""}
    assert not await uploads.make_ready(new["_id"], "m1")


@pytest.mark.gen_test
async def test_a_finished_one_that_is_discarded_forgets_its_medium(uploads):
    new = await add(uploads, status="ready", media_id="m1", attempts=["m1"])
    assert await uploads.discard(new["_id"], "ready")
    gone = await uploads.get(new["_id"])
    assert (gone["media_id"], gone["attempts"]) == (None, [])


@pytest.mark.gen_test
async def test_only_what_is_over_is_forgotten(uploads):
    kept = [await add(uploads, status=status) for status in ("open", "received")]
    gone = [await add(uploads, status=status) for status in ("discarded", "ready")]
    for one in (*kept, *gone):
        await uploads.remove(one["_id"])
    assert [await uploads.get(one["_id"]) for one in (*kept, *gone)] == [*kept, None, None]


@pytest.mark.gen_test
async def test_the_sweeps_find_theirs_by_an_index(uploads, mongo_uri, database, driver):
    await add(uploads)
    old = await add(uploads, expires_at=AT)
    whole = await add(uploads, status="received")
    async with watched(mongo_uri, database, driver) as (store, plans):
        seen = UploadRepository(store)
        assert await seen.expired("open", LATER, 10) == [old]
        assert await seen.unclaimed(AT, 10) == [whole]
        assert await plans.scans() == []
