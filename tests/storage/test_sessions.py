import asyncio
import itertools
from datetime import UTC, datetime

import pytest

from storage.indexes import ensure_indexes
from storage.sessions import SessionRepository
from tests.storage.plans import watched

NOW = datetime(2027, 5, 1, 8, tzinfo=UTC)
LATER = datetime(2027, 5, 1, 9, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def sessions(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return SessionRepository(store)


async def _added(sessions, account="a1"):
    session = {
        "_id": f"s{next(_numbers):03d}",
        "account_id": account,
        "method": "sms",
        "epoch": 0,
        "generation": 1,
        "token_digest": "d1",
        "created_at": NOW,
        "refreshed_at": NOW,
        "expires_at": LATER,
        "revoked_at": None,
        "ending": None,
    }
    await sessions.add(session)
    return session


@pytest.mark.gen_test
async def test_sessions_are_found_by_id_and_by_account(sessions):
    mine, mine_too, other = [await _added(sessions, account) for account in ("mine", "mine", "other")]
    assert await sessions.get(other["_id"]) == other
    assert await sessions.get("none") is None
    assert await sessions.of_account("mine") == [mine, mine_too]


@pytest.mark.gen_test
async def test_of_simultaneous_rotations_one_is_done(sessions):
    seen = await _added(sessions)
    done = await asyncio.gather(
        *(sessions.rotate(seen, token_digest=f"d2-{n}", now=LATER, expires_at=LATER) for n in range(6))
    )
    assert done.count(True) == 1
    kept = await sessions.get(seen["_id"])
    assert (kept["token_digest"], kept["generation"]) == (f"d2-{done.index(True)}", 2)


@pytest.mark.gen_test
async def test_a_revoked_session_is_not_rotated(sessions):
    seen = await _added(sessions)
    assert await sessions.revoke(seen["_id"], "logout", NOW) is True
    assert await sessions.rotate(seen, token_digest="d2", now=LATER, expires_at=LATER) is False
    assert (await sessions.get(seen["_id"]))["token_digest"] == "d1"


@pytest.mark.gen_test
async def test_the_first_reason_of_an_end_stays(sessions):
    id_ = (await _added(sessions))["_id"]
    assert await sessions.revoke(id_, "reused", NOW) is True
    assert await sessions.revoke(id_, "logout", LATER) is False
    kept = await sessions.get(id_)
    assert (kept["ending"], kept["revoked_at"]) == ("reused", NOW)


@pytest.mark.gen_test(timeout=20)
async def test_no_look_up_reads_the_whole_collection(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        await SessionRepository(store).of_account("a1")
        assert len(plans.filters) == 1
        assert await plans.scans() == []
