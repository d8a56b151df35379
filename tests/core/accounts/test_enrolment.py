from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from core.accounts import elevation, enrolment, login, second_factor
from core.auth import Caller
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, WrongState
from tests.core.accounts.conftest import PASSWORD, six_other_digits


@pytest.fixture
def caller(doctor):
    return Caller(doctor["_id"], "doctor", "staff", session="s1", expires_at=2**33)


@pytest.fixture
def lifted(io_loop, ctx, caller):
    io_loop.run_sync(lambda: elevation.elevate(ctx, caller=caller, password=PASSWORD))
    return caller


async def _factor(ctx, doctor):
    return (await ctx.accounts.get(doctor["_id"]))["second_factor"]


def _code(ctx, secret):
    return pyotp.TOTP(secret).at(ctx.clock.now())


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_new_secret_counts_once_a_code_of_it_was_seen(ctx, doctor, lifted):
    begun = await enrolment.begin(ctx, caller=lifted)
    address = urlsplit(begun["uri"])
    assert (address.scheme, unquote(address.path)) == ("otpauth", f"/互联网医院:{doctor['login']}")
    assert parse_qs(address.query) == {"secret": [begun["secret"]], "issuer": ["互联网医院"]}
    assert await _factor(ctx, doctor) is None
    code = _code(ctx, begun["secret"])
    await enrolment.confirm(ctx, caller=lifted, code=code)
    account = await ctx.accounts.get(doctor["_id"])
    assert await second_factor.is_right(ctx, account, code) is False  # used up
    ctx.clock.step(30)
    assert await second_factor.is_right(ctx, account, _code(ctx, begun["secret"])) is True


@pytest.mark.gen_test
async def test_a_wrong_code_binds_nothing_and_may_be_corrected(ctx, doctor, lifted):
    begun = await enrolment.begin(ctx, caller=lifted)
    code = _code(ctx, begun["secret"])
    with pytest.raises(Invalid):
        await enrolment.confirm(ctx, caller=lifted, code=six_other_digits(code))
    assert await _factor(ctx, doctor) is None
    await enrolment.confirm(ctx, caller=lifted, code=code)
    assert (await _factor(ctx, doctor))["last_step"] > 0
    with pytest.raises(WrongState):
        await enrolment.confirm(ctx, caller=lifted, code=code)


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_without_a_fresh_proof_nothing_is_begun_or_removed(ctx, doctor, caller):
    await second_factor.set_up(ctx, doctor["_id"])
    before = await _factor(ctx, doctor)
    for asked in (enrolment.begin(ctx, caller=caller), enrolment.remove(ctx, caller=caller)):
        with pytest.raises(Forbidden) as refused:
            await asked
        assert refused.value.code == "elevation_required"
    with pytest.raises(WrongState):
        await enrolment.confirm(ctx, caller=caller, code="123456")
    assert await _factor(ctx, doctor) == before


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_it_is_removed_only_where_the_hospital_does_not_require_it(ctx, doctor, lifted):
    await second_factor.set_up(ctx, doctor["_id"])
    with pytest.raises(Conflict):
        await enrolment.remove(replace(ctx, second_factor_required=True), caller=lifted)
    assert await _factor(ctx, doctor) is not None
    await enrolment.remove(ctx, caller=lifted)
    assert await _factor(ctx, doctor) is None


@pytest.mark.gen_test
async def test_patients_have_none(ctx, patient):
    caller = Caller(patient["_id"], "patient", "patient", session="s1", expires_at=2**33)
    with pytest.raises(Forbidden):
        await enrolment.begin(ctx, caller=caller)


# --- where every member of staff must have one ------------------------------------------------------------------------


@pytest.fixture
def strict(ctx):
    return replace(ctx, second_factor_required=True)


def _log_in(ctx, doctor):
    return login.log_in(ctx, audience="staff", method="password", account=doctor["login"], password=PASSWORD)


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_who_must_have_one_and_has_none_gets_only_a_ticket_to_bind_one(strict, doctor):
    first = await _log_in(strict, doctor)
    assert set(first) == {"mfa"}
    assert set(first["mfa"]) == {"ticket", "enrol"}
    assert await strict.sessions.of_account(doctor["_id"]) == []
    code = _code(strict, first["mfa"]["enrol"]["secret"])
    with pytest.raises(Unauthenticated):
        await login.finish(strict, ticket=first["mfa"]["ticket"], code=six_other_digits(code))
    assert await _factor(strict, doctor) is None
    entered = await login.finish(strict, ticket=first["mfa"]["ticket"], code=code)
    assert entered["account"]["id"] == doctor["_id"]
    assert await _factor(strict, doctor) is not None
    again = await _log_in(strict, doctor)
    assert set(again["mfa"]) == {"ticket"}


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_of_two_tickets_to_bind_one_only_the_first_used_counts(strict, doctor):
    first, second = [(await _log_in(strict, doctor))["mfa"] for _ in range(2)]
    await login.finish(strict, ticket=first["ticket"], code=_code(strict, first["enrol"]["secret"]))
    bound = await _factor(strict, doctor)
    with pytest.raises(Unauthenticated):
        await login.finish(strict, ticket=second["ticket"], code=_code(strict, second["enrol"]["secret"]))
    assert await _factor(strict, doctor) == bound


@pytest.mark.gen_test
async def test_patients_are_never_asked(strict, wechat):
    pressed = wechat.press("o-strict", "13977770001")
    entered = await login.log_in(strict, audience="patient", method="wechat", **pressed)
    assert "access_token" in entered


@pytest.mark.gen_test
async def test_a_vanished_account_begins_nothing(ctx, lifted):
    gone = replace(lifted, id="nobody")
    await ctx.tickets.keep(elevation._slot(ctx, gone), {"account": "nobody"}, 60)
    with pytest.raises(NotFound):
        await enrolment.begin(ctx, caller=gone)


@pytest.mark.gen_test
async def test_setting_and_removing_the_second_factor_are_in_the_trail(ctx, doctor, caller, trail):
    await elevation.elevate(ctx, caller=caller, password=PASSWORD)
    begun = await enrolment.begin(ctx, caller=caller)
    await enrolment.confirm(ctx, caller=caller, code=_code(ctx, begun["secret"]))
    await enrolment.remove(ctx, caller=caller)
    assert [act for act, _ in await trail(doctor["_id"])] == [
        "elevation.grant",
        "second_factor.remove",
        "second_factor.set",
    ]
