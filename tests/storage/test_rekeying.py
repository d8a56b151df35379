import re

import pytest

from storage.encryption import FieldCipher, Unreadable
from storage.rekeying import SEALED, Rekeyed, exchange, rekey, stale_fields
from tests.people import in_progress

OLD, NEW, INDEX = b"o" * 32, b"n" * 32, b"i" * 32
BEFORE = FieldCipher({"k1": OLD}, "k1", INDEX)
MEANWHILE = FieldCipher({"k1": OLD, "k2": NEW}, "k2", INDEX)
AFTER = FieldCipher({"k2": NEW}, "k2", INDEX)


def _account(number):
    return {
        "_id": f"a{number:03}",
        "phone": BEFORE.seal(f"139{number}", field="accounts.phone"),
        "name": None if number % 2 else BEFORE.seal(f"张{number}", field="accounts.name"),
        "second_factor": {"secret": BEFORE.seal("S", field="accounts.second_factor"), "last_step": 4},
        "epoch": number,
    }


@pytest.fixture
def accounts(io_loop, store):
    async def filled():
        for name in SEALED:
            await store.db[name].delete_many({})
        await store.db["accounts"].insert_many([_account(number) for number in range(25)])
        return store.db["accounts"]

    return io_loop.run_sync(filled)


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test
async def test_every_stale_field_is_sealed_anew_and_nothing_else_is_touched(store, accounts):
    done = await rekey(store, MEANWHILE, batch=10)
    assert done["accounts"] == Rekeyed(documents=25, fields=25 + 13 + 25, raced=0)
    for number, account in enumerate(await accounts.find({}).sort("_id", 1).to_list(None)):
        assert AFTER.open(account["phone"], field="accounts.phone") == f"139{number}"
        if account["name"] is not None:
            assert AFTER.open(account["name"], field="accounts.name") == f"张{number}"
        assert AFTER.open(account["second_factor"]["secret"], field="accounts.second_factor") == "S"
        assert (account["second_factor"]["last_step"], account["epoch"]) == (4, number)


@pytest.mark.gen_test
async def test_a_second_run_finds_nothing_to_do(store, accounts):
    await rekey(store, MEANWHILE)
    kept = await accounts.find({}).to_list(None)
    assert (await rekey(store, MEANWHILE))["accounts"] == Rekeyed(documents=25, fields=0, raced=0)
    assert await accounts.find({}).to_list(None) == kept


@pytest.mark.gen_test
async def test_a_missing_key_stops_the_run_and_leaves_the_field_as_it_was(store, accounts):
    kept = await accounts.find({}).to_list(None)
    with pytest.raises(Unreadable):
        await rekey(store, AFTER)
    assert await accounts.find({}).to_list(None) == kept


@pytest.mark.gen_test
async def test_what_is_written_after_the_reading_wins(accounts):
    seen = await accounts.find_one({"_id": "a002"})
    anew = MEANWHILE.seal("新名字", field="accounts.name")
    await accounts.update_one({"_id": "a002"}, {"$set": {"name": anew}})
    assert await exchange(accounts, MEANWHILE, seen, SEALED["accounts"]) == (3, 2)
    kept = await accounts.find_one({"_id": "a002"})
    assert (kept["name"], AFTER.open(kept["phone"], field="accounts.phone")) == (anew, "1392")


def test_a_field_that_is_not_there_is_not_stale():
    assert list(stale_fields(MEANWHILE, {"_id": 1, "guardian": None}, SEALED["patients"])) == []


@pytest.mark.gen_test(timeout=60)
async def test_every_sealed_field_of_the_hospital_is_in_the_table(hospital):
    stage = await in_progress(hospital)
    await stage.close()
    known = {(name, path) for name, fields in SEALED.items() for path in fields}
    found = set()
    for name in await hospital.ctx.store.db.list_collection_names():
        if not name.startswith("files"):
            for document in await hospital.ctx.store.db[name].find({}).to_list(None):
                found |= {(name, path) for path in _sealed_in(document, "")}
    assert found - known == set()
    assert {("accounts", "phone"), ("patients", "id_number"), ("visits", "condition")} <= found


def _sealed_in(value, path):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _sealed_in(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _sealed_in(inner, f"{path}[]")
    elif isinstance(value, str) and re.fullmatch(r"v1\.[^.]+\.[A-Za-z0-9_=-]{24,}", value):
        yield path
