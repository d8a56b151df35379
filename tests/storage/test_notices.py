from datetime import UTC, datetime, timedelta

import pytest

from storage.moves import duty
from storage.notices import NoticeRepository, notice_id
from tests.storage.plans import watched

pytestmark = pytest.mark.gen_test(timeout=20)
NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def a_notice(visit="v1", account="p1", **changes):
    return {
        "_id": notice_id(visit, account),
        "visit": visit,
        "account": account,
        "receiver": "patient",
        "status": "owed",
        "version": 1,
        "again": False,
        "noticed_at": None,
        "duties": [],
        "deadline_at": None,
    } | changes


@pytest.fixture
def notices(io_loop, store):
    io_loop.run_sync(lambda: store.db["notices"].delete_many({}))
    return NoticeRepository(store)


async def test_a_member_has_one_notice_a_visit(notices):
    assert await notices.add(a_notice())
    assert not await notices.add(a_notice())
    assert (await notices.of("v1", "p1"))["_id"] == "v1:p1"
    assert await notices.of("v1", "d1") is None


async def test_of_two_who_saw_the_same_one_changes_it(notices):
    await notices.add(a_notice())
    seen = await notices.of("v1", "p1")
    owed = duty("notice.send", "v1:p1", 1, NOW)
    changed = await notices.change(seen, "subscribe", at=NOW, values={"noticed_at": NOW}, duties=[owed])
    assert (changed["status"], changed["version"], changed["duties"]) == ("subscribe", 2, [owed])
    assert await notices.change(seen, "sms", at=NOW, values={}) is None
    assert (await notices.of("v1", "p1"))["status"] == "subscribe"


async def test_what_is_being_told_goes_on_though_something_happened_meanwhile(notices):
    await notices.add(a_notice(status="subscribe", noticed_at=NOW))
    begun = await notices.of("v1", "p1")
    await notices.change(begun, "subscribe", at=NOW, values={"again": True})
    assert await notices.proceed(begun, "quiet", at=NOW, values={}, again=False) is None
    assert (await notices.proceed(begun, "sms", at=NOW, values={}))["status"] == "sms"


async def test_what_another_has_begun_anew_is_not_gone_on_with(notices):
    await notices.add(a_notice(status="sms", noticed_at=NOW))
    begun = await notices.of("v1", "p1")
    await notices.change(begun, "sms", at=NOW, values={"noticed_at": NOW + timedelta(seconds=600)})
    assert await notices.proceed(begun, "quiet", at=NOW, values={}) is None


async def test_every_query_is_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        notices = NoticeRepository(store)
        await notices.of("v1", "p1")
        await notices.due(NOW, 5)
        assert await plans.scans() == []
