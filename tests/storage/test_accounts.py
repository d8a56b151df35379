import asyncio
import itertools
from datetime import UTC, datetime

import pytest

from storage.accounts import AccountRepository
from storage.indexes import ensure_indexes
from storage.mongo import DuplicateKey
from tests.storage.plans import watched

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
LATER = datetime(2026, 5, 1, 9, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def accounts(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return AccountRepository(store)


def _account(**changed):
    number = next(_numbers)
    return {
        "_id": f"a{number}",
        "audience": "staff",
        "role": "doctor",
        "status": "active",
        "phone": "v1.sealed",
        "phone_index": f"p{number}",
        "name": None,
        "login": None,
        "password_hash": None,
        "department_id": None,
        "epoch": 0,
        "wrong_tries": 0,
        "locked_until": None,
        "second_factor": None,
        "created_at": NOW,
        "updated_at": NOW,
    } | changed


async def _added(accounts, **changed):
    account = _account(**changed)
    await accounts.add(account)
    return account


@pytest.mark.gen_test
async def test_an_account_is_found_by_id_phone_and_login(accounts):
    account = await _added(accounts, login="linjing")
    assert await accounts.get(account["_id"]) == account
    assert await accounts.by_phone("staff", account["phone_index"]) == account
    assert await accounts.by_login("linjing") == account
    assert await accounts.by_phone("patient", account["phone_index"]) is None
    assert await accounts.by_login("nobody") is None


@pytest.mark.gen_test
async def test_phone_and_login_are_unique_in_an_audience(accounts):
    account = await _added(accounts, login="zhaomin")
    for changed in ({"phone_index": account["phone_index"]}, {"login": "zhaomin"}, {"_id": account["_id"]}):
        with pytest.raises(DuplicateKey):
            await accounts.add(_account(**changed))
    await accounts.add(_account(phone_index=account["phone_index"], audience="patient"))


@pytest.mark.gen_test
async def test_any_number_of_accounts_have_no_login_and_no_openid(accounts):
    for _ in range(3):
        await _added(accounts)


@pytest.mark.gen_test
async def test_an_openid_goes_over_to_the_account_that_bound_it_last(accounts):
    first, second = [await _added(accounts) for _ in range(2)]
    for account in (first, second):
        assert await accounts.bind_openid(account["_id"], "staff", "o1", LATER) is True
    assert "openid" not in await accounts.get(first["_id"])
    assert (await accounts.get(second["_id"]))["openid"] == "o1"


@pytest.mark.gen_test
async def test_an_openid_of_one_audience_leaves_the_others_alone(accounts):
    patient, staff = await _added(accounts, audience="patient"), await _added(accounts)
    await accounts.bind_openid(patient["_id"], "patient", "o2", LATER)
    await accounts.bind_openid(staff["_id"], "staff", "o2", LATER)
    assert (await accounts.get(patient["_id"]))["openid"] == "o2"


@pytest.mark.gen_test
async def test_tries_are_counted_from_what_was_seen(accounts):
    id_ = (await _added(accounts))["_id"]
    assert await accounts.count_try(id_, seen=0, wrong_tries=1, locked_until=None) is True
    assert await accounts.count_try(id_, seen=0, wrong_tries=1, locked_until=None) is False
    assert await accounts.count_try(id_, seen=1, wrong_tries=2, locked_until=LATER) is True
    kept = await accounts.get(id_)
    assert (kept["wrong_tries"], kept["locked_until"]) == (2, LATER)
    await accounts.forget_tries(id_)
    kept = await accounts.get(id_)
    assert (kept["wrong_tries"], kept["locked_until"]) == (0, None)


@pytest.mark.gen_test
async def test_a_time_step_is_used_once_and_never_an_earlier_one(accounts):
    id_ = (await _added(accounts))["_id"]
    assert await accounts.use_step(id_, 5) is False
    await accounts.set_second_factor(id_, {"secret": "v1.s", "last_step": 0}, LATER)
    assert [await accounts.use_step(id_, step) for step in (5, 5, 4, 6)] == [True, False, False, True]


@pytest.mark.gen_test
async def test_calling_back_raises_the_epoch(accounts):
    id_ = (await _added(accounts))["_id"]
    called = await accounts.call_back(id_, "disabled", LATER)
    assert (called["epoch"], called["status"], called["updated_at"]) == (1, "disabled", LATER)
    assert await accounts.call_back("nobody", "disabled", LATER) is None


@pytest.mark.gen_test
async def test_name_and_password_are_changed(accounts):
    id_ = (await _added(accounts, password_hash="h1"))["_id"]
    await accounts.set_name(id_, "v1.name", LATER)
    await accounts.set_password_hash(id_, "h1", "h2")
    await accounts.set_password_hash(id_, "h1", "h3")
    kept = await accounts.get(id_)
    assert (kept["name"], kept["password_hash"]) == ("v1.name", "h2")


@pytest.mark.gen_test(timeout=20)
async def test_no_look_up_reads_the_whole_collection(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        accounts = AccountRepository(store)
        await accounts.by_phone("staff", "p1")
        await accounts.by_login("linjing")
        await accounts.bind_openid("a1", "staff", "o1", NOW)
        assert len(plans.filters) == 4
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_an_openid_bound_by_many_at_once_is_one_accounts(accounts):
    several = [await _added(accounts) for _ in range(6)]
    bound = await asyncio.gather(*(accounts.bind_openid(one["_id"], "staff", "o9", LATER) for one in several))
    kept = [await accounts.get(one["_id"]) for one in several]
    assert sum(one.get("openid") == "o9" for one in kept) == 1
    assert any(bound)


@pytest.mark.gen_test
async def test_staff_are_listed_newest_first_and_patients_are_not(accounts):
    role = "regulator"
    made = [await _added(accounts, role=role, status=status) for status in ("active", "disabled", "active")]
    await _added(accounts, role=role, audience="patient")
    ids = [one["_id"] for one in made]
    everyone = await accounts.staff(role=role, status=None, before=None, limit=10)
    assert [one["_id"] for one in everyone] == sorted(ids, reverse=True)
    active = await accounts.staff(role=role, status="active", before=None, limit=10)
    assert {one["_id"] for one in active} == {ids[0], ids[2]}
    below = await accounts.staff(role=role, status=None, before=everyone[0]["_id"], limit=1)
    assert [one["_id"] for one in below] == [everyone[1]["_id"]]


@pytest.mark.gen_test
async def test_the_list_of_staff_needs_no_scan(mongo_uri, database, driver):
    async with watched(mongo_uri, database, driver) as (store, plans):
        await AccountRepository(store).staff(role="doctor", status="active", before="b", limit=5)
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_an_account_is_altered_only_as_it_was_seen(accounts):
    seen = await _added(accounts, role="nurse")
    altered = {"entries": [{"act": "one"}], "at": LATER}
    assert await accounts.alter(seen, {"role": "pharmacist"}, call_back=True, **altered) is True
    assert await accounts.alter(seen, {"role": "admin"}, call_back=True, **altered) is False
    kept = await accounts.get(seen["_id"])
    assert (kept["role"], kept["epoch"], kept["history"], kept["updated_at"]) == (
        "pharmacist",
        1,
        [{"act": "one"}],
        LATER,
    )
    other = await _added(accounts)
    with pytest.raises(DuplicateKey):
        await accounts.alter(kept, {"phone_index": other["phone_index"]}, call_back=False, **altered)
    assert await accounts.get(seen["_id"]) == kept


@pytest.mark.gen_test
async def test_an_owner_changes_the_password_seen_and_no_other(accounts):
    seen = await _added(accounts, password_hash="h1", password_expires_at=LATER)
    assert await accounts.change_password(seen, "h2", LATER) is True
    assert await accounts.change_password(seen, "h3", LATER) is False
    kept = await accounts.get(seen["_id"])
    assert (kept["password_hash"], kept["password_expires_at"], kept["epoch"]) == ("h2", None, 1)


@pytest.mark.gen_test
async def test_a_second_factor_is_enrolled_once(accounts):
    seen = await _added(accounts)
    first = {"secret": "v1.a", "last_step": 1}
    assert await accounts.enrol(seen["_id"], first, LATER) is True
    assert await accounts.enrol(seen["_id"], {"secret": "v1.b", "last_step": 1}, LATER) is False
    assert (await accounts.get(seen["_id"]))["second_factor"] == first


@pytest.mark.gen_test
async def test_calling_back_leaves_the_status_unless_one_is_given(accounts):
    seen = await _added(accounts, status="disabled")
    called = await accounts.call_back(seen["_id"], None, LATER)
    assert (called["status"], called["epoch"]) == ("disabled", 1)
