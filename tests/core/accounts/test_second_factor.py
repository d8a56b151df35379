import asyncio

import pyotp
import pytest

from core.accounts import second_factor
from core.errors import NotFound


@pytest.fixture
def guarded(io_loop, ctx, doctor):
    """A doctor with an authenticator: (account, secret)."""

    async def made():
        secret = await second_factor.set_up(ctx, doctor["_id"])
        return await ctx.accounts.get(doctor["_id"]), pyotp.TOTP(secret)

    return io_loop.run_sync(made)


@pytest.mark.gen_test
async def test_a_code_of_now_is_right_once(ctx, guarded):
    account, totp = guarded
    code = totp.at(ctx.clock.now())
    assert await second_factor.is_right(ctx, account, code) is True
    assert await second_factor.is_right(ctx, account, code) is False


@pytest.mark.gen_test
async def test_two_who_send_the_same_code_at_once_are_not_both_right(ctx, guarded):
    account, totp = guarded
    code = totp.at(ctx.clock.now())
    said = await asyncio.gather(*(second_factor.is_right(ctx, account, code) for _ in range(5)))
    assert sorted(said) == [False, False, False, False, True]


@pytest.mark.parametrize(("seconds", "right"), [(-60, False), (-30, True), (30, True), (60, False)])
@pytest.mark.gen_test
async def test_a_clock_half_a_minute_off_is_allowed(ctx, guarded, seconds, right):
    account, totp = guarded
    code = totp.at(ctx.clock.now().timestamp() + seconds)
    assert await second_factor.is_right(ctx, account, code) is right


@pytest.mark.gen_test
async def test_a_code_older_than_the_last_used_is_no_longer_right(ctx, guarded):
    account, totp = guarded
    before, now = (totp.at(ctx.clock.now().timestamp() + off) for off in (-30, 0))
    assert await second_factor.is_right(ctx, account, now) is True
    assert await second_factor.is_right(ctx, account, before) is False


@pytest.mark.gen_test
async def test_the_secret_is_sealed_in_the_store(ctx, guarded):
    account, totp = guarded
    assert account["second_factor"]["secret"].startswith("v1.")
    assert totp.secret not in account["second_factor"]["secret"]


@pytest.mark.gen_test
async def test_a_new_secret_ends_the_old(ctx, guarded):
    account, old = guarded
    await second_factor.set_up(ctx, account["_id"])
    account = await ctx.accounts.get(account["_id"])
    assert await second_factor.is_right(ctx, account, old.at(ctx.clock.now())) is False


@pytest.mark.gen_test
async def test_without_a_second_factor_no_code_is_right(ctx, doctor):
    assert await second_factor.is_right(ctx, doctor, "000000") is False


@pytest.mark.gen_test
async def test_patients_have_none(ctx, patient):
    with pytest.raises(NotFound):
        await second_factor.set_up(ctx, patient["_id"])
    assert (await ctx.accounts.get(patient["_id"]))["second_factor"] is None
