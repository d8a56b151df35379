import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pymongo.errors import DuplicateKeyError, OperationFailure, ServerSelectionTimeoutError

from scripts.embedded import free_port
from storage.mongo import STORE_AWAY, DuplicateKey, Store, is_broken, weak_points


@pytest.mark.parametrize(
    ("uri", "weak"),
    [
        ("mongodb://db/", []),
        ("mongodb://db/?w=majority&journal=true&retryWrites=true", []),
        ("mongodb://db/?retryWrites=false", ["retrywrites=true"]),
        ("mongodb://db/?w=1;j=false", ["w=majority", "journal=true"]),
    ],
)
def test_address_is_told_what_it_lacks_for_production(uri, weak):
    assert weak_points(uri) == weak


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (OperationFailure("internal server error", 1), True),
        (OperationFailure("no space", 14031), True),
        (OperationFailure("bad value", 2), False),
        (DuplicateKeyError("duplicate", 11000), False),
        (ValueError("1"), False),
    ],
)
def test_a_server_that_cannot_work_is_told_from_one_that_will_not(error, broken):
    assert is_broken(error) is broken


@pytest.mark.gen_test
async def test_the_embedded_server_is_told_from_one_that_may_hold_records(store):
    assert await store.unfit_for_production() == ["is the embedded server"]


@pytest.mark.parametrize(
    ("hello", "unfit"), [({"setName": "rs0"}, []), ({"msg": "isdbgrid"}, []), ({}, ["is no replica set"])]
)
@pytest.mark.gen_test
async def test_a_server_without_a_replica_set_is_unfit(hello, unfit):
    class Server:
        """What a real server answers to the two questions."""

        admin: "Server"

        def __getitem__(self, name):
            return None

        async def command(self, name):
            return {"buildInfo": {"version": "8.0.4"}, "hello": hello}[name]

    server = Server()
    server.admin = server
    assert await Store(server, "x", "motor").unfit_for_production() == unfit


@pytest.mark.gen_test
async def test_every_client_writes_with_majority_and_journal(store):
    assert store.db.write_concern.document["w"] == "majority"
    assert store.db.write_concern.document["j"] is True


@pytest.mark.parametrize("weakness", ["w=1", "journal=false", "j=false"])
@pytest.mark.gen_test
async def test_address_that_weakens_durability_is_refused(driver, weakness):
    with pytest.raises(ValueError, match="durability"):
        await Store.open(f"mongodb://db/?{weakness}", "x", driver=driver)


@pytest.mark.gen_test
async def test_driver_retries_follow_the_address(driver):
    embedded = await Store.open("mongodb://127.0.0.1:1/?retryWrites=false", "x", driver=driver)
    other = await Store.open("mongodb://127.0.0.1:1/", "x", driver=driver)
    assert [one.db.client.options.retry_writes for one in (embedded, other)] == [False, True]
    await embedded.close()
    await other.close()


@pytest.mark.gen_test
async def test_absent_server_is_away_within_seconds(driver):
    absent = await Store.open(f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=50", "x", driver=driver)
    with pytest.raises(STORE_AWAY) as refusal:
        await absent.ping_write()
    assert refusal.type is ServerSelectionTimeoutError
    await absent.close()


@pytest.mark.gen_test
async def test_times_come_back_aware_in_utc_to_the_millisecond(store):
    told = datetime(2026, 5, 4, 9, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=8)))
    await store.db["times"].insert_one({"_id": "a", "at": told})
    kept = (await store.db["times"].find_one({"_id": "a"}))["at"]
    assert (kept, kept.utcoffset()) == (datetime(2026, 5, 4, 1, 0, 0, 123_000, tzinfo=UTC), timedelta(0))


@pytest.mark.gen_test
async def test_write_probe_leaves_one_document(store):
    await store.ping_write()
    await store.ping_write()
    assert await store.aggregate("probes", [{"$project": {"_id": 1}}]) == [{"_id": "write"}]


@pytest.mark.gen_test
async def test_second_document_of_an_id_is_a_duplicate(store):
    await store.db["twice"].insert_one({"_id": "a", "n": 1})
    with pytest.raises(DuplicateKey):
        await store.db["twice"].insert_one({"_id": "a", "n": 2})
    assert (await store.db["twice"].find_one({"_id": "a"}))["n"] == 1


@pytest.mark.gen_test
async def test_majority_collection_reads_what_was_written(store):
    await store.majority("seen").insert_one({"_id": "a"})
    assert await store.majority("seen").find_one({"_id": "a"}) == {"_id": "a"}
    assert await store.aggregate(store.majority("seen"), [{"$match": {"_id": "a"}}]) == [{"_id": "a"}]
    assert store.majority("seen").read_concern.level == "majority"


@pytest.mark.gen_test(timeout=20)
async def test_transfers_at_once_lose_nothing(store):
    accounts = store.db["purses"]
    await accounts.insert_many([{"_id": "a", "fen": 100}, {"_id": "b", "fen": 0}])

    async def transfer(session):
        taken = await accounts.find_one({"_id": "a"}, session=session)
        given = await accounts.find_one({"_id": "b"}, session=session)
        await accounts.update_one({"_id": "a"}, {"$set": {"fen": taken["fen"] - 1}}, session=session)
        await accounts.update_one({"_id": "b"}, {"$set": {"fen": given["fen"] + 1}}, session=session)

    await asyncio.gather(*(store.transaction(transfer) for _ in range(8)))
    assert await accounts.find().sort("_id", 1).to_list(None) == [{"_id": "a", "fen": 92}, {"_id": "b", "fen": 8}]


@pytest.mark.gen_test
async def test_transaction_that_raises_stores_nothing_and_hands_back_the_error(store):
    async def half(session):
        await store.db["halves"].insert_one({"_id": "a"}, session=session)
        raise LookupError("the other half")

    with pytest.raises(LookupError, match="the other half"):
        await store.transaction(half)
    assert await store.db["halves"].find_one({"_id": "a"}) is None


@pytest.mark.gen_test
async def test_transaction_hands_back_what_its_work_returns(store):
    async def work(session):
        await store.db["wholes"].insert_one({"_id": "a"}, session=session)
        return await store.aggregate("wholes", [{"$match": {"_id": "a"}}], session=session)

    assert await store.transaction(work) == [{"_id": "a"}]
    assert await store.db["wholes"].find_one({"_id": "a"}) == {"_id": "a"}


@pytest.mark.gen_test
async def test_watch_sees_every_write_after_it_opened(store):
    await store.db["watched"].insert_one({"_id": "before"})
    async with store.watch("watched", [{"$match": {"operationType": "insert"}}]) as changes:
        await store.db["watched"].insert_one({"_id": "after"})
        change = await anext(changes)
    assert change["fullDocument"] == {"_id": "after"}
