import asyncio

import pytest

from core.accounts import passwords, service, sessions
from core.auth import Caller, authenticate
from core.errors import AppError, Conflict, Invalid, Unauthenticated
from tests.core.accounts.conftest import PASSWORD


def _caller(account) -> Caller:
    return Caller(account["_id"], account["role"], account["audience"], "s1", 0)


async def _staff(ctx, phone, /, **changed):
    fields = {"account": "zhaomin", "phone": phone, "name": "赵敏", "role": "nurse", "password": PASSWORD}
    return await service.create_staff(ctx, **(fields | changed))


@pytest.mark.gen_test
async def test_a_doctors_account_takes_the_doctors_id(ctx, phone):
    made = await _staff(ctx, phone, account=f"dr{phone}", role="doctor", id_=f"doctor-{phone}", department_id="d1")
    kept = await ctx.accounts.get(f"doctor-{phone}")
    assert kept == made
    assert (kept["role"], kept["audience"], kept["department_id"]) == ("doctor", "staff", "d1")
    assert await passwords.is_right(PASSWORD, kept["password_hash"])


@pytest.mark.gen_test
async def test_staff_are_made_once_for_each_account_name(ctx, phone):
    first = await _staff(ctx, phone, account=f"n{phone}")
    again = await _staff(ctx, "13100000000", account=f"n{phone}", name="另一人", password="another-one-1")
    assert again == first


@pytest.mark.gen_test
async def test_staff_made_at_once_are_one(ctx, phone):
    made = await asyncio.gather(*(_staff(ctx, phone, account=f"n{phone}") for _ in range(4)))
    assert {one["_id"] for one in made} == {made[0]["_id"]}


@pytest.mark.gen_test
async def test_a_phone_belongs_to_one_member_of_staff(ctx, phone):
    await _staff(ctx, phone, account=f"n{phone}")
    with pytest.raises(Conflict) as refusal:
        await _staff(ctx, phone, account=f"m{phone}")
    assert refusal.value.code == "duplicate"
    assert await ctx.accounts.by_login(f"m{phone}") is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"role": "patient"}, "role"),
        ({"role": "surgeon"}, "role"),
        ({"account": "赵敏"}, "account"),
        ({"phone": "12345"}, "phone"),
        ({"password": "short"}, "password"),
    ],
)
@pytest.mark.gen_test
async def test_staff_of_another_form_are_refused(ctx, phone, changed, field):
    fields = {"account": f"x{phone}"} | changed
    with pytest.raises(Invalid) as refusal:
        await _staff(ctx, phone, **fields)
    assert list(refusal.value.errors) == [field]
    assert await ctx.accounts.by_login(fields["account"]) is None


@pytest.mark.gen_test
async def test_one_phone_may_be_a_patients_and_a_staff_members(ctx, phone):
    staff = await _staff(ctx, phone, account=f"n{phone}")
    patient = await service.create_patient_account(ctx, phone=phone)
    assert staff["_id"] != patient["_id"]
    assert (staff["audience"], patient["audience"]) == ("staff", "patient")


@pytest.mark.gen_test
async def test_a_patients_account_is_made_once_for_each_phone_also_at_once(ctx, phone):
    made = await asyncio.gather(*(service.create_patient_account(ctx, phone=phone) for _ in range(6)))
    assert {one["_id"] for one in made} == {made[0]["_id"]}
    assert await service.create_patient_account(ctx, phone=phone, name="后来的名字") == await ctx.accounts.get(
        made[0]["_id"]
    )


@pytest.mark.gen_test
async def test_name_and_phone_are_sealed_in_the_store(ctx, indexed, phone):
    made = await service.create_patient_account(ctx, phone=phone, name="王小明")
    kept = str(await indexed.db["accounts"].find_one({"_id": made["_id"]}))
    assert phone not in kept
    assert "王小明" not in kept


@pytest.mark.gen_test
async def test_a_new_patient_is_called_by_the_end_of_the_phone_until_they_say_a_name(ctx, phone):
    account = await service.create_patient_account(ctx, phone=phone)
    shown = {
        "id": account["_id"],
        "role": "patient",
        "audience": "patient",
        "name": f"用户{phone[-4:]}",
        "phone": f"{phone[:3]}****{phone[-4:]}",
        "account": None,
    }
    assert await service.me(ctx, caller=_caller(account)) == shown
    assert await service.rename(ctx, caller=_caller(account), name="王小明") == shown | {"name": "王小明"}
    assert await service.me(ctx, caller=_caller(account)) == shown | {"name": "王小明"}


@pytest.mark.gen_test
async def test_a_caller_whose_account_is_gone_is_nobody(ctx, patient):
    gone = Caller("gone", "patient", "patient", "s1", 0)
    for asked in (service.me(ctx, caller=gone), service.rename(ctx, caller=gone, name="某人")):
        with pytest.raises(Unauthenticated):
            await asked


@pytest.mark.gen_test
async def test_a_patient_who_never_used_wechat_has_no_openid(ctx, patient):
    assert await service.openid_of(ctx, patient["_id"]) is None
    assert await service.openid_of(ctx, "nobody") is None


@pytest.mark.gen_test
async def test_a_patient_account_needs_a_mainland_number(ctx):
    with pytest.raises(AppError):
        await service.create_patient_account(ctx, phone="85212345678")


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_new_password_ends_every_session_and_begins_one(ctx, doctor):
    before = await sessions.start(ctx, doctor, "password")
    entered = await service.change_password(ctx, caller=_caller(doctor), current=PASSWORD, password="brand-new-8")
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, before["access_token"])
    assert (await authenticate(ctx, entered["access_token"])).id == doctor["_id"]
    kept = await ctx.accounts.get(doctor["_id"])
    assert await passwords.is_right("brand-new-8", kept["password_hash"])


@pytest.mark.rule("R6-4")
@pytest.mark.parametrize(
    ("current", "password", "error"),
    [("wrong-one-1", "brand-new-8", Unauthenticated), (PASSWORD, PASSWORD, Invalid), (PASSWORD, "short1", Invalid)],
)
@pytest.mark.gen_test
async def test_a_refused_password_changes_nothing(ctx, doctor, current, password, error):
    with pytest.raises(error):
        await service.change_password(ctx, caller=_caller(doctor), current=current, password=password)
    kept = await ctx.accounts.get(doctor["_id"])
    assert (kept["password_hash"], kept["epoch"]) == (doctor["password_hash"], 0)


@pytest.mark.gen_test
async def test_ones_own_sessions_are_shown_without_their_tokens(ctx, doctor):
    entered = await sessions.start(ctx, doctor, "password")
    caller = await authenticate(ctx, entered["access_token"])
    (row,) = await service.sessions_of(ctx, caller=caller)
    assert set(row) == {"id", "method", "created_at", "refreshed_at", "expires_at", "current"}
    assert (row["id"], row["method"], row["current"]) == (caller.session, "password", True)


@pytest.mark.gen_test
async def test_a_changed_password_is_in_the_trail(ctx, doctor, trail):
    await service.change_password(ctx, caller=_caller(doctor), current=PASSWORD, password="brand-new-8")
    assert [act for act, _ in await trail(doctor["_id"])] == ["account.change_password", "session.start"]
