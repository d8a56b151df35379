import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from storage.quick_replies import QuickReplyRepository

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def replies(io_loop, store):
    io_loop.run_sync(lambda: store.db["quick_replies"].delete_many({}))
    return QuickReplyRepository(store)


@pytest.mark.gen_test
async def test_there_are_none_until_some_are_kept_in_their_order(replies):
    assert await replies.get("d") is None
    assert await replies.replace("d", ["您好", "请多喝水"], seen_version=0, at=NOW) is True
    assert await replies.get("d") == {"_id": "d", "replies": ["您好", "请多喝水"], "version": 1, "updated_at": NOW}
    assert await replies.replace("d", ["请多喝水"], seen_version=1, at=LATER) is True
    assert await replies.get("d") == {"_id": "d", "replies": ["请多喝水"], "version": 2, "updated_at": LATER}


@pytest.mark.parametrize("seen", [0, 1, 3])
@pytest.mark.gen_test
async def test_who_has_not_seen_what_stands_there_replaces_nothing(replies, seen):
    await replies.replace("d", ["一"], seen_version=0, at=NOW)
    await replies.replace("d", ["二"], seen_version=1, at=NOW)
    assert await replies.replace("d", ["三"], seen_version=seen, at=LATER) is False
    assert (await replies.get("d"))["replies"] == ["二"]


@pytest.mark.gen_test
async def test_of_two_devices_that_save_at_once_one_wins(replies):
    for seen in (0, 1):
        saved = await asyncio.gather(*(replies.replace("d", [str(n)], seen_version=seen, at=NOW) for n in range(5)))
        assert saved.count(True) == 1
        assert (await replies.get("d"))["replies"] == [str(saved.index(True))]
