from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.accounts import codes
from core.errors import RateLimited, ServiceUnavailable
from core.ports import Rejected, Unavailable
from storage.login_codes import LoginCodes
from storage.redis import BUS_AWAY, connect
from tests.core.accounts.conftest import six_other_digits


@pytest.mark.gen_test
async def test_a_code_is_right_once(ctx, sms, phone):
    await codes.send(ctx, phone=phone, purpose="login")
    code = sms.last_code(phone)
    assert sms.sent == [(phone, {"code": code, "minutes": "5"})]
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=code) is True
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=code) is False


@pytest.mark.gen_test
async def test_a_code_serves_only_its_purpose_and_its_phone(ctx, sms, phone):
    await codes.send(ctx, phone=phone, purpose="bind")
    code = sms.last_code(phone)
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=code) is False
    assert await codes.is_right(ctx, phone=phone, purpose="sign", code=code) is False
    assert await codes.is_right(ctx, phone="13000000000", purpose="bind", code=code) is False
    assert await codes.is_right(ctx, phone=phone, purpose="bind", code=code) is True


@example(guesses=[1] * 4)
@example(guesses=[1] * 5)
@given(guesses=st.lists(st.integers(1, 999_999), max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_code_is_right_after_fewer_than_five_wrong_guesses(io_loop, ctx, sms, redis, guesses):
    async def story():
        await redis.flushall()
        await codes.send(ctx, phone="13700000000", purpose="login")
        code = sms.last_code("13700000000")
        for off in guesses:
            wrong = f"{(int(code) + off) % 1_000_000:06d}"
            assert await codes.is_right(ctx, phone="13700000000", purpose="login", code=wrong) is False
        return await codes.is_right(ctx, phone="13700000000", purpose="login", code=code)

    assert io_loop.run_sync(story) is (len(guesses) < 5)


@pytest.mark.gen_test
async def test_a_second_code_waits_a_minute_and_nothing_is_sent(ctx, sms, phone):
    await codes.send(ctx, phone=phone, purpose="login")
    with pytest.raises(RateLimited) as refusal:
        await codes.send(ctx, phone=phone, purpose="login")
    assert 58 < refusal.value.retry_after <= 60
    assert len(sms.sent) == 1
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=sms.last_code(phone)) is True


@pytest.mark.gen_test
async def test_a_new_code_takes_the_place_of_the_earlier(ctx, sms, phone, redis):
    await codes.send(ctx, phone=phone, purpose="login")
    await _end_pauses(redis)
    await codes.send(ctx, phone=phone, purpose="login")
    (_, first), (_, second) = sms.sent
    if first["code"] != second["code"]:
        assert await codes.is_right(ctx, phone=phone, purpose="login", code=first["code"]) is False
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=second["code"]) is True


@pytest.mark.gen_test
async def test_a_phone_gets_ten_codes_a_day_for_all_purposes_together(ctx, sms, phone, redis):
    for turn in range(10):
        await codes.send(ctx, phone=phone, purpose=("login", "bind", "sign")[turn % 3])
        await _end_pauses(redis)
    with pytest.raises(RateLimited) as refusal:
        await codes.send(ctx, phone=phone, purpose="login")
    assert 86_390 < refusal.value.retry_after <= 86_400
    assert len(sms.sent) == 10


@pytest.mark.parametrize("fault", [Unavailable(), Rejected("LimitExceeded.PhoneNumberDailyLimit")])
@pytest.mark.gen_test
async def test_a_code_the_carrier_did_not_take_is_dropped_and_may_be_asked_for_again(ctx, sms, phone, redis, fault):
    sms.fault = fault
    with pytest.raises(ServiceUnavailable):
        await codes.send(ctx, phone=phone, purpose="login")
    assert [key for key in await redis.keys() if b":day" not in key] == []
    sms.fault = None
    await codes.send(ctx, phone=phone, purpose="login")
    assert [await redis.get(key) for key in await redis.keys("*:day")] == [b"1"]


@pytest.mark.gen_test
async def test_redis_knows_neither_phone_nor_code_and_forgets_in_five_minutes(ctx, sms, phone, redis):
    await codes.send(ctx, phone=phone, purpose="login")
    code = sms.last_code(phone)
    (kept,) = await redis.keys("*:code:login")
    content = b" ".join([*await redis.keys(), *(await redis.hgetall(kept)).values()])
    assert phone.encode() not in content
    assert code.encode() not in content
    assert 299 <= await redis.ttl(kept) <= 300


@pytest.mark.gen_test
async def test_without_redis_nothing_is_sent(ctx, sms, phone):
    away = connect("redis://127.0.0.1:1")
    with pytest.raises(BUS_AWAY):
        await codes.send(replace(ctx, login_codes=LoginCodes(away)), phone=phone, purpose="login")
    assert sms.sent == []
    await away.aclose()


@pytest.mark.gen_test
async def test_a_wrong_code_for_a_phone_without_one_is_just_wrong(ctx, phone):
    assert await codes.is_right(ctx, phone=phone, purpose="login", code=six_other_digits("000000")) is False


async def _end_pauses(redis):
    """Let the minute between two codes pass."""
    await redis.delete(*await redis.keys("*:pause:*"))
