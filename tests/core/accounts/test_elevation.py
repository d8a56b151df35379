import pyotp
import pytest

from core.accounts import elevation, second_factor
from core.auth import Caller
from core.errors import Forbidden, Unauthenticated
from tests.core.accounts.conftest import PASSWORD


def _caller(account, session="s1"):
    return Caller(account["_id"], account["role"], "staff", session=session, expires_at=2**33)


async def _is_lifted(ctx, caller):
    refused = None
    try:
        await elevation.require(ctx, caller)
    except Forbidden as error:
        refused = error.code
    assert refused in (None, "elevation_required")
    return refused is None


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_password_lifts_this_session_and_no_other(ctx, doctor):
    here, there = _caller(doctor), _caller(doctor, "s2")
    assert await _is_lifted(ctx, here) is False
    assert await elevation.elevate(ctx, caller=here, password=PASSWORD) == {"expires_in": 300}
    assert (await _is_lifted(ctx, here), await _is_lifted(ctx, there)) == (True, False)


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_it_ends_by_itself(ctx, doctor, redis):
    await elevation.elevate(ctx, caller=_caller(doctor), password=PASSWORD)
    (key,) = await redis.keys("ticket:*")
    assert 290 <= await redis.ttl(key) <= 300
    await redis.delete(key)
    assert await _is_lifted(ctx, _caller(doctor)) is False


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_code_of_the_authenticator_lifts_once(ctx, doctor):
    code = pyotp.TOTP(await second_factor.set_up(ctx, doctor["_id"])).at(ctx.clock.now())
    await elevation.elevate(ctx, caller=_caller(doctor), code=code)
    assert await _is_lifted(ctx, _caller(doctor)) is True
    with pytest.raises(Unauthenticated):
        await elevation.elevate(ctx, caller=_caller(doctor, "s2"), code=code)
    assert await _is_lifted(ctx, _caller(doctor, "s2")) is False


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=20)
async def test_wrong_proofs_lift_nothing_and_lock_the_account(ctx, doctor):
    caller = _caller(doctor)
    for proof in (
        {"password": "wrong-1"},
        {"code": "000000"},
        {"password": "wrong-2"},
        {"password": "x"},
        {"code": "1"},
    ):
        with pytest.raises(Unauthenticated) as refused:
            await elevation.elevate(ctx, caller=caller, **proof)
        assert refused.value.code == "bad_credentials"
    with pytest.raises(Forbidden) as locked:
        await elevation.elevate(ctx, caller=caller, password=PASSWORD)
    assert locked.value.code == "locked"
    assert await _is_lifted(ctx, caller) is False


@pytest.mark.gen_test
async def test_nobody_is_lifted_who_is_not_there(ctx, doctor):
    with pytest.raises(Unauthenticated):
        await elevation.elevate(ctx, caller=_caller({**doctor, "_id": "nobody"}), password=PASSWORD)


@pytest.mark.gen_test
async def test_being_lifted_and_being_refused_are_in_the_trail(ctx, doctor, trail):
    with pytest.raises(Unauthenticated):
        await elevation.elevate(ctx, caller=_caller(doctor), password="wrong-1")
    await elevation.elevate(ctx, caller=_caller(doctor), password=PASSWORD)
    assert [act for act, _ in await trail(doctor["_id"])] == ["elevation.grant", "elevation.refuse"]
