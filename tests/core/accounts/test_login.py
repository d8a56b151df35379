import asyncio
from datetime import timedelta

import argon2
import pyotp
import pytest
from pymongo.errors import AutoReconnect

from core.accounts import codes, login, rules, second_factor, service
from core.auth import authenticate
from core.errors import AppError, Forbidden, Unauthenticated
from core.ports import Unavailable
from tests.core.accounts.conftest import PASSWORD, six_other_digits


async def _by_sms(ctx, sms, phone, audience="patient"):
    await codes.send(ctx, phone=phone, purpose="login")
    return await login.log_in(ctx, audience=audience, method="sms", phone=phone, code=sms.last_code(phone))


def _by_password(ctx, account, password=PASSWORD):
    return login.log_in(ctx, audience="staff", method="password", account=account, password=password)


async def _refused(asked) -> str:
    with pytest.raises(AppError) as refusal:
        await asked
    return refusal.value.code


async def _sessions(ctx, account) -> int:
    return len(await ctx.sessions.of_account(account["_id"]))


# --- text-message code -----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_patient_signs_up_by_the_first_code_and_comes_back_by_the_second(ctx, sms, phone, redis):
    first = await _by_sms(ctx, sms, phone)
    await redis.delete(*await redis.keys("*:pause:*"))
    second = await _by_sms(ctx, sms, phone)
    assert first["account"] == second["account"]
    caller = await authenticate(ctx, second["access_token"])
    assert (caller.id, caller.role, caller.audience) == (first["account"]["id"], "patient", "patient")


@pytest.mark.gen_test
async def test_a_member_of_staff_comes_in_by_code(ctx, sms, doctor, phone):
    entered = await _by_sms(ctx, sms, phone, "staff")
    assert (entered["account"]["id"], entered["account"]["role"]) == (doctor["_id"], "doctor")


@pytest.mark.gen_test
async def test_staff_do_not_sign_up(ctx, sms, phone):
    assert await _refused(_by_sms(ctx, sms, phone, "staff")) == "bad_credentials"
    assert await ctx.accounts.by_phone("staff", ctx.cipher.blind(phone, field=rules.PHONE_FIELD)) is None


@pytest.mark.gen_test
async def test_a_wrong_code_makes_no_account(ctx, sms, phone):
    await codes.send(ctx, phone=phone, purpose="login")
    wrong = six_other_digits(sms.last_code(phone))
    asked = login.log_in(ctx, audience="patient", method="sms", phone=phone, code=wrong)
    assert await _refused(asked) == "bad_credentials"
    assert await ctx.accounts.by_phone("patient", ctx.cipher.blind(phone, field=rules.PHONE_FIELD)) is None


@pytest.mark.gen_test
async def test_a_code_for_signing_does_not_log_in(ctx, sms, phone):
    await codes.send(ctx, phone=phone, purpose="sign")
    asked = login.log_in(ctx, audience="patient", method="sms", phone=phone, code=sms.last_code(phone))
    assert await _refused(asked) == "bad_credentials"


# --- account and password --------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_member_of_staff_comes_in_by_password_however_the_name_is_written(ctx, doctor):
    for written in (doctor["login"], doctor["login"].upper()):
        entered = await _by_password(ctx, written)
        assert entered["account"]["id"] == doctor["_id"]


@pytest.mark.gen_test
async def test_the_fifth_wrong_password_locks_even_the_right_one_out_for_a_quarter_of_an_hour(ctx, doctor, clock):
    for _ in range(5):
        assert await _refused(_by_password(ctx, doctor["login"], "wrong-1")) == "bad_credentials"
    with pytest.raises(AppError) as refusal:
        await _by_password(ctx, doctor["login"])
    assert (refusal.value.code, refusal.value.retry_after) == ("locked", 900)
    assert await _sessions(ctx, doctor) == 0
    clock.step(900)
    assert (await _by_password(ctx, doctor["login"]))["account"]["id"] == doctor["_id"]


@pytest.mark.gen_test
async def test_simultaneous_guesses_are_counted_too(ctx, doctor):
    said = await asyncio.gather(*(_refused(_by_password(ctx, doctor["login"], f"wrong-{n}")) for n in range(12)))
    assert sorted(said) == ["bad_credentials"] * 5 + ["locked"] * 7


@pytest.mark.gen_test
async def test_the_right_password_forgets_the_wrong_ones(ctx, doctor):
    for _ in range(2):
        for _ in range(4):
            assert await _refused(_by_password(ctx, doctor["login"], "wrong-1")) == "bad_credentials"
        await _by_password(ctx, doctor["login"])
    assert (await ctx.accounts.get(doctor["_id"]))["wrong_tries"] == 0


@pytest.mark.gen_test
async def test_an_unknown_name_is_refused_and_locked_just_like_a_known_one(ctx, phone):
    for _ in range(5):
        assert await _refused(_by_password(ctx, f"nobody{phone}")) == "bad_credentials"
    with pytest.raises(AppError) as refusal:
        await _by_password(ctx, f"nobody{phone}")
    assert (refusal.value.code, refusal.value.status) == ("locked", 403)
    assert 890 < refusal.value.retry_after <= 900


@pytest.mark.gen_test
async def test_a_lock_leaves_the_other_ways_open(ctx, sms, doctor, phone):
    for _ in range(5):
        await _refused(_by_password(ctx, doctor["login"], "wrong-1"))
    assert (await _by_sms(ctx, sms, phone, "staff"))["account"]["id"] == doctor["_id"]


@pytest.mark.gen_test
async def test_a_hash_of_an_earlier_cost_is_made_anew_at_login(ctx, doctor):
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    await ctx.accounts.set_password_hash(doctor["_id"], doctor["password_hash"], old)
    await _by_password(ctx, doctor["login"])
    assert (await ctx.accounts.get(doctor["_id"]))["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await _by_password(ctx, doctor["login"])


# --- WeChat ----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_patient_signs_up_by_wechat_and_the_openid_is_kept(ctx, wechat, phone):
    entered = await login.log_in(ctx, audience="patient", method="wechat", **wechat.press("o-1", phone))
    assert entered["account"]["phone"] == rules.masked_phone(phone)
    assert await service.openid_of(ctx, entered["account"]["id"]) == "o-1"


@pytest.mark.gen_test
async def test_a_member_of_staff_comes_in_by_the_staffs_mini_program_only(ctx, wechat, wechat_staff, doctor, phone):
    entered = await login.log_in(ctx, audience="staff", method="wechat", **wechat_staff.press("o-s", phone))
    assert entered["account"]["id"] == doctor["_id"]
    assert await service.openid_of(ctx, doctor["_id"]) == "o-s"
    asked = login.log_in(ctx, audience="staff", method="wechat", **wechat.press("o-s", phone))
    assert await _refused(asked) == "bad_credentials"


@pytest.mark.gen_test
async def test_sms_and_wechat_of_one_phone_are_one_account(ctx, sms, wechat, phone):
    by_sms = await _by_sms(ctx, sms, phone)
    by_wechat = await login.log_in(ctx, audience="patient", method="wechat", **wechat.press("o-2", phone))
    assert by_sms["account"] == by_wechat["account"]


@pytest.mark.gen_test
async def test_a_wechat_user_with_a_new_phone_goes_over_to_its_account(ctx, wechat, phone):
    before = await login.log_in(ctx, audience="patient", method="wechat", **wechat.press("o-3", phone))
    after = await login.log_in(ctx, audience="patient", method="wechat", **wechat.press("o-3", "13000000003"))
    assert before["account"]["id"] != after["account"]["id"]
    assert await service.openid_of(ctx, before["account"]["id"]) is None
    assert await service.openid_of(ctx, after["account"]["id"]) == "o-3"


@pytest.mark.gen_test
async def test_unknown_staff_are_refused_and_no_account_is_made(ctx, wechat_staff, phone):
    asked = login.log_in(ctx, audience="staff", method="wechat", **wechat_staff.press("o-4", phone))
    assert await _refused(asked) == "bad_credentials"
    assert await ctx.accounts.by_phone("staff", ctx.cipher.blind(phone, field=rules.PHONE_FIELD)) is None


@pytest.mark.parametrize("false", ["login_code", "phone_code"])
@pytest.mark.gen_test
async def test_a_false_code_is_refused_and_no_account_is_made(ctx, wechat, phone, false):
    pressed = wechat.press("o-5", phone) | {false: "made-up"}
    assert await _refused(login.log_in(ctx, audience="patient", method="wechat", **pressed)) == "bad_credentials"
    assert await ctx.accounts.by_phone("patient", ctx.cipher.blind(phone, field=rules.PHONE_FIELD)) is None


@pytest.mark.gen_test
async def test_with_wechat_away_nobody_is_refused_for_good(ctx, wechat, phone):
    wechat.fault = Unavailable()
    with pytest.raises(Unavailable):
        await login.log_in(ctx, audience="patient", method="wechat", **wechat.press("o-6", phone))


# --- disabled accounts -----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_disabled_account_is_refused_every_way_after_the_proof(ctx, sms, wechat_staff, doctor, phone):
    await service.disable(ctx, doctor["_id"])
    by_wechat = login.log_in(ctx, audience="staff", method="wechat", **wechat_staff.press("o-7", phone))
    assert await _refused(_by_sms(ctx, sms, phone, "staff")) == "account_disabled"
    assert await _refused(_by_password(ctx, doctor["login"])) == "account_disabled"
    assert await _refused(by_wechat) == "account_disabled"
    assert await _refused(_by_password(ctx, doctor["login"], "wrong-1")) == "bad_credentials"
    assert await _sessions(ctx, doctor) == 0
    assert await service.openid_of(ctx, doctor["_id"]) is None


# --- second factor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def totp(io_loop, ctx, doctor):
    """The doctor's authenticator."""
    return pyotp.TOTP(io_loop.run_sync(lambda: second_factor.set_up(ctx, doctor["_id"])))


@pytest.mark.gen_test
async def test_the_second_factor_is_asked_for_before_any_token_is_given(ctx, sms, doctor, totp, phone):
    asked = await _by_password(ctx, doctor["login"])
    assert list(asked) == ["mfa"]
    assert list(await _by_sms(ctx, sms, phone, "staff")) == ["mfa"]
    assert await _sessions(ctx, doctor) == 0
    entered = await login.finish(ctx, ticket=asked["mfa"]["ticket"], code=totp.at(ctx.clock.now()))
    assert (await authenticate(ctx, entered["access_token"])).id == doctor["_id"]
    assert [one["method"] for one in await ctx.sessions.of_account(doctor["_id"])] == ["password"]


@pytest.mark.gen_test
async def test_a_ticket_is_used_once_and_survives_a_wrong_code(ctx, doctor, totp, clock):
    ticket = (await _by_password(ctx, doctor["login"]))["mfa"]["ticket"]
    code = totp.at(clock.now())
    assert await _refused(login.finish(ctx, ticket=ticket, code=six_other_digits(code))) == "bad_credentials"
    await login.finish(ctx, ticket=ticket, code=code)
    clock.step(30)
    assert await _refused(login.finish(ctx, ticket=ticket, code=totp.at(clock.now()))) == "bad_credentials"
    assert await _sessions(ctx, doctor) == 1


@pytest.mark.gen_test
async def test_the_right_password_does_not_buy_more_guesses_of_the_code(ctx, doctor, totp, clock):
    said = []
    for _ in range(5):
        ticket = (await _by_password(ctx, doctor["login"]))["mfa"]["ticket"]
        said.append(await _refused(login.finish(ctx, ticket=ticket, code=six_other_digits(totp.at(clock.now())))))
    assert said == ["bad_credentials"] * 5
    assert await _refused(login.finish(ctx, ticket=ticket, code=totp.at(clock.now()))) == "locked"
    assert await _refused(_by_password(ctx, doctor["login"])) == "locked"
    assert await _sessions(ctx, doctor) == 0


@pytest.mark.gen_test
async def test_a_second_step_without_a_first_is_refused(ctx, doctor, totp):
    with pytest.raises(Unauthenticated):
        await login.finish(ctx, ticket="made-up", code=totp.at(ctx.clock.now()))


@pytest.mark.gen_test
async def test_an_account_disabled_between_the_steps_is_refused(ctx, doctor, totp):
    ticket = (await _by_password(ctx, doctor["login"]))["mfa"]["ticket"]
    await service.disable(ctx, doctor["_id"])
    asked = login.finish(ctx, ticket=ticket, code=totp.at(ctx.clock.now()))
    assert await _refused(asked) == "bad_credentials"
    assert await _sessions(ctx, doctor) == 0


@pytest.mark.gen_test
async def test_a_ticket_waits_five_minutes(ctx, doctor, totp, redis):
    await _by_password(ctx, doctor["login"])
    (key,) = await redis.keys("ticket:*")
    assert 299 <= await redis.ttl(key) <= 300


@pytest.mark.gen_test
async def test_one_ticket_with_two_right_codes_at_once_is_one_login(ctx, doctor, totp, clock):
    ticket = (await _by_password(ctx, doctor["login"]))["mfa"]["ticket"]
    proofs = [totp.at(clock.now().timestamp() + off) for off in (-30, 0, 30)]
    await asyncio.gather(*(login.finish(ctx, ticket=ticket, code=code) for code in proofs), return_exceptions=True)
    assert await _sessions(ctx, doctor) == 1


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_password_of_the_offices_making_holds_until_its_time(ctx, doctor, clock):
    until = clock.now() + timedelta(hours=1)
    await ctx.accounts.alter(doctor, {"password_expires_at": until}, entries=[], call_back=False, at=clock.now())
    proof = {"audience": "staff", "method": "password", "account": doctor["login"], "password": PASSWORD}
    entered = await login.log_in(ctx, **proof)
    assert entered["account"]["password_change_due"] is True
    clock.step(3_600)
    with pytest.raises(Forbidden) as refused:
        await login.log_in(ctx, **proof)
    assert refused.value.code == "password_expired"
    assert len(await ctx.sessions.of_account(doctor["_id"])) == 1


# --- the audit trail


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_logins_failures_and_the_lock_are_in_the_trail(ctx, doctor, trail):
    for _ in range(5):
        await _refused(_by_password(ctx, doctor["login"], "wrong-1"))
    assert await _refused(_by_password(ctx, doctor["login"])) == "locked"
    await ctx.accounts.forget_tries(doctor["_id"])
    await _by_password(ctx, doctor["login"])
    assert await trail(doctor["_id"]) == [
        ("account.lock", ""),
        *[("login.refuse", "password")] * 5,
        ("session.start", "password"),
    ]


@pytest.mark.gen_test
async def test_whoever_tries_names_and_codes_that_are_none_is_in_the_trail_without_them(ctx, phone, trail):
    await _refused(_by_password(ctx, "nobody-here", "wrong-1"))
    await _refused(login.log_in(ctx, audience="patient", method="sms", phone=phone, code="000000"))
    codes_of_none = {"login_code": "x", "phone_code": "y"}
    await _refused(login.log_in(ctx, audience="patient", method="wechat", **codes_of_none))
    assert await trail("anonymous") == [
        ("login.refuse", "password"),
        ("login.refuse", "sms"),
        ("login.refuse", "wechat"),
    ]


@pytest.mark.gen_test
async def test_a_wrong_code_of_the_second_factor_is_in_the_trail(ctx, doctor, totp, clock, trail):
    ticket = (await _by_password(ctx, doctor["login"]))["mfa"]["ticket"]
    await _refused(login.finish(ctx, ticket=ticket, code=six_other_digits(totp.at(clock.now()))))
    assert await trail(doctor["_id"]) == [("login.refuse", "second_factor")]


@pytest.mark.gen_test
async def test_nobody_is_let_in_when_the_trail_is_away(ctx, doctor, monkeypatch):
    async def away(entries):
        raise AutoReconnect("away")

    monkeypatch.setattr(ctx.audit, "add", away)
    with pytest.raises(AutoReconnect):
        await _by_password(ctx, doctor["login"])
