import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from core.accounts import rules, service, sessions
from core.auth import authenticate
from core.errors import AppError, NotFound, Unauthenticated
from storage.redis import connect
from storage.revocations import Revocations


async def _session(ctx, entered):
    return await ctx.sessions.get(rules.session_of(ctx.secrets.codes, entered["refresh_token"]))


async def _refused(ctx, refresh_token) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        await sessions.refresh(ctx, refresh_token)
    return refusal.value.code


@pytest.mark.gen_test
async def test_a_session_begins_with_an_access_and_a_refresh_token(ctx, doctor, clock):
    entered = await sessions.start(ctx, doctor, "password")
    caller = await authenticate(ctx, entered["access_token"])
    kept = await _session(ctx, entered)
    assert (caller.id, caller.role, caller.audience, caller.session) == (doctor["_id"], "doctor", "staff", kept["_id"])
    assert (entered["expires_in"], caller.expires_at) == (900, int(clock.now().timestamp()) + 900)
    assert entered["account"]["name"] == "林静"
    assert entered["refresh_token"] not in kept.values()
    assert kept["expires_at"] - clock.now() == timedelta(hours=12)


@pytest.mark.gen_test
async def test_a_refresh_gives_new_tokens_on_the_same_session_and_more_time(ctx, doctor, clock):
    entered = await sessions.start(ctx, doctor, "password")
    clock.step(11 * 3_600)
    again = await sessions.refresh(ctx, entered["refresh_token"])
    assert again["refresh_token"] != entered["refresh_token"]
    caller = await authenticate(ctx, again["access_token"])
    kept = await _session(ctx, again)
    assert (kept["_id"], kept["generation"]) == (caller.session, 2)
    assert kept["expires_at"] - clock.now() == timedelta(hours=12)


@pytest.mark.gen_test
async def test_a_used_refresh_token_ends_the_whole_family(ctx, doctor, revoked):
    entered = await sessions.start(ctx, doctor, "password")
    again = await sessions.refresh(ctx, entered["refresh_token"])
    assert await _refused(ctx, entered["refresh_token"]) == "token_reused"
    assert await _refused(ctx, again["refresh_token"]) == "token_reused"
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, again["access_token"])
    kept = await _session(ctx, entered)
    assert (kept["ending"], kept["generation"]) == ("reused", 2)
    assert revoked == [kept["_id"]]


@pytest.mark.gen_test
async def test_of_simultaneous_refreshes_exactly_one_wins(ctx, doctor):
    entered = await sessions.start(ctx, doctor, "password")
    said = await asyncio.gather(
        *(sessions.refresh(ctx, entered["refresh_token"]) for _ in range(8)), return_exceptions=True
    )
    won = [one for one in said if not isinstance(one, Exception)]
    assert len(won) == 1
    assert {one.code for one in said if isinstance(one, AppError)} == {"token_reused"}
    assert await _refused(ctx, won[0]["refresh_token"]) == "token_reused"


@pytest.mark.gen_test
async def test_another_session_of_the_account_stays(ctx, doctor):
    stolen, other = [await sessions.start(ctx, doctor, "password") for _ in range(2)]
    await sessions.refresh(ctx, stolen["refresh_token"])
    await _refused(ctx, stolen["refresh_token"])
    assert (await authenticate(ctx, other["access_token"])).id == doctor["_id"]
    await sessions.refresh(ctx, other["refresh_token"])


@pytest.mark.gen_test
async def test_a_made_up_token_of_a_real_session_ends_nothing(ctx, doctor, revoked):
    entered = await sessions.start(ctx, doctor, "password")
    session = await _session(ctx, entered)
    made_up = rules.new_refresh_token(b"x" * 32, session["_id"], 1)
    assert await _refused(ctx, made_up) == "unauthenticated"
    await sessions.log_out(ctx, made_up)
    assert revoked == []
    assert await _session(ctx, entered) == session


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_session_of_staff_ends_unused_after_half_a_day_and_a_patients_after_thirty_days(
    ctx, doctor, patient, clock
):
    staff, own = [await sessions.start(ctx, account, "sms") for account in (doctor, patient)]
    clock.step(12 * 3_600)
    assert await _refused(ctx, staff["refresh_token"]) == "unauthenticated"
    renewed = await sessions.refresh(ctx, own["refresh_token"])
    clock.step(30 * 86_400)
    assert await _refused(ctx, renewed["refresh_token"]) == "unauthenticated"


@pytest.mark.gen_test
async def test_logout_ends_the_session_at_once_and_may_be_repeated(ctx, doctor, revoked):
    entered = await sessions.start(ctx, doctor, "password")
    for _ in range(2):
        await sessions.log_out(ctx, entered["refresh_token"])
    assert await _refused(ctx, entered["refresh_token"]) == "unauthenticated"
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, entered["access_token"])
    assert set(revoked) == {(await _session(ctx, entered))["_id"]}


@pytest.mark.gen_test
async def test_with_redis_away_logout_is_stored_and_the_access_token_lives_out_its_time(ctx, doctor, clock):
    away = connect("redis://127.0.0.1:1")
    ctx = replace(ctx, revocations=Revocations(away))
    entered = await sessions.start(ctx, doctor, "password")
    await sessions.log_out(ctx, entered["refresh_token"])
    assert (await _session(ctx, entered))["ending"] == "logout"
    assert await _refused(ctx, entered["refresh_token"]) == "unauthenticated"
    assert (await authenticate(ctx, entered["access_token"])).id == doctor["_id"]
    clock.step(900)
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, entered["access_token"])
    await away.aclose()


@pytest.mark.gen_test
async def test_a_disabled_account_loses_every_session_and_begins_none(ctx, doctor, revoked):
    first, second = [await sessions.start(ctx, doctor, "password") for _ in range(2)]
    ended = {(await _session(ctx, one))["_id"] for one in (first, second)}
    await service.disable(ctx, doctor["_id"])
    for one in (first, second):
        with pytest.raises(Unauthenticated):
            await authenticate(ctx, one["access_token"])
        assert await _refused(ctx, one["refresh_token"]) == "unauthenticated"
    assert ended <= set(revoked)
    with pytest.raises(AppError) as refusal:
        await sessions.start(ctx, await ctx.accounts.get(doctor["_id"]), "password")
    assert refusal.value.code == "account_disabled"
    assert len(await ctx.sessions.of_account(doctor["_id"])) == 2


@pytest.mark.gen_test
async def test_with_redis_away_a_disabled_account_is_stored_and_its_sockets_are_told(ctx, doctor, revoked):
    away = connect("redis://127.0.0.1:1")
    entered = await sessions.start(ctx, doctor, "password")
    await service.disable(replace(ctx, revocations=Revocations(away)), doctor["_id"])
    assert (await ctx.accounts.get(doctor["_id"]))["status"] == "disabled"
    assert revoked == [(await _session(ctx, entered))["_id"]]
    assert await _refused(ctx, entered["refresh_token"]) == "unauthenticated"
    await away.aclose()


@pytest.mark.gen_test
async def test_sessions_of_before_do_not_come_back_when_the_account_is_enabled(ctx, doctor):
    before = await sessions.start(ctx, doctor, "password")
    await service.disable(ctx, doctor["_id"])
    await service.enable(ctx, doctor["_id"])
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, before["access_token"])
    assert await _refused(ctx, before["refresh_token"]) == "unauthenticated"
    after = await sessions.start(ctx, await ctx.accounts.get(doctor["_id"]), "password")
    assert (await authenticate(ctx, after["access_token"])).id == doctor["_id"]


@pytest.mark.gen_test
async def test_an_account_that_is_not_there_cannot_be_disabled(ctx):
    with pytest.raises(NotFound):
        await service.disable(ctx, "nobody")


def test_a_family_of_refresh_tokens_in_any_order_of_acts(io_loop, ctx, doctor):
    """A model of families: which token is newest, which were used, and whether the family has ended and how."""

    class Families(RuleBasedStateMachine):
        tokens = Bundle("tokens")  # (family, refresh token)

        def __init__(self):
            super().__init__()
            self.newest: dict[int, str] = {}
            self.access: dict[int, str] = {}
            self.ended: dict[int, str] = {}

        @rule(target=tokens)
        def log_in(self):
            entered = io_loop.run_sync(lambda: sessions.start(ctx, doctor, "password"))
            return self._keep(len(self.newest), entered)

        @rule(target=tokens, held=tokens)
        def refresh(self, held):
            family, token = held
            if family not in self.ended and token == self.newest[family]:
                return self._keep(family, io_loop.run_sync(lambda: sessions.refresh(ctx, token)))
            self.ended.setdefault(family, "token_reused")
            assert io_loop.run_sync(lambda: _refused(ctx, token)) == self.ended[family]
            return held

        @rule(held=consumes(tokens))
        def log_out(self, held):
            family, token = held
            io_loop.run_sync(lambda: sessions.log_out(ctx, token))
            self.ended.setdefault(family, "unauthenticated")

        @rule(held=tokens, place=st.integers(0, 60))
        def invent(self, held, place):
            token = held[1][:place] + "_" + held[1][place + 1 :]
            if token != held[1]:
                assert io_loop.run_sync(lambda: _refused(ctx, token)) == "unauthenticated"

        @invariant()
        def access_follows_the_family(self):
            for family, token in self.access.items():
                assert io_loop.run_sync(lambda token=token: _stands(ctx, token)) == (family not in self.ended)

        def _keep(self, family, entered):
            self.newest[family] = entered["refresh_token"]
            self.access[family] = entered["access_token"]
            return family, entered["refresh_token"]

    run_state_machine_as_test(
        Families,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


async def _stands(ctx, access_token) -> bool:
    try:
        await authenticate(ctx, access_token)
    except Unauthenticated:
        return False
    return True


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_standing_sessions_are_those_that_can_still_be_refreshed(ctx, doctor, clock):
    ended, expired = [await sessions.start(ctx, doctor, "password") for _ in range(2)]
    clock.step(11 * 3_600)
    kept = [await sessions.start(ctx, doctor, "sms") for _ in range(2)]
    await sessions.log_out(ctx, ended["refresh_token"])
    clock.step(2 * 3_600)
    shown = [one["_id"] for one in await sessions.standing(ctx, doctor["_id"])]
    assert shown == [(await _session(ctx, one))["_id"] for one in reversed(kept)]
    assert (await _session(ctx, expired))["_id"] not in shown
    await sessions.end_all(ctx, doctor["_id"])
    assert await sessions.standing(ctx, doctor["_id"]) == []
    assert (await ctx.accounts.get(doctor["_id"]))["status"] == "active"
    with pytest.raises(NotFound):
        await sessions.standing(ctx, "nobody")


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_a_session_is_revoked_by_its_owner_and_by_nobody_else(ctx, doctor, patient, revoked):
    entered = await sessions.start(ctx, doctor, "password")
    session = (await _session(ctx, entered))["_id"]
    for owner, id_ in ((patient["_id"], session), (doctor["_id"], "nothing")):
        with pytest.raises(NotFound):
            await sessions.revoke(ctx, owner, id_)
    assert (revoked, (await _session(ctx, entered))["ending"]) == ([], None)
    await sessions.revoke(ctx, doctor["_id"], session)
    assert (revoked, (await _session(ctx, entered))["ending"]) == ([session], "revoked")
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, entered["access_token"])
