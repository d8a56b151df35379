from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.auth import Actor, Caller, TokenSigner, authenticate
from core.context import Context
from core.errors import Unauthenticated
from storage.redis import connect
from storage.revocations import Revocations
from tests.clock import SettableClock

KEY, OTHER = b"k" * 32, b"o" * 32
CLOCK = SettableClock()
NOW = CLOCK.now()
SIGNER = TokenSigner({"k1": KEY}, "k1")


def _token(signer=SIGNER, **changed) -> str:
    said = {"account": "a1", "role": "doctor", "audience": "staff", "session": "s1", "epoch": 3, "now": NOW}
    return signer.issue(**(said | {"seconds": 900} | changed))


def _refused(token: str, now=NOW, signer=SIGNER) -> None:
    with pytest.raises(Unauthenticated):
        signer.read(token, now)


def test_a_token_says_who_asks_and_under_which_epoch():
    caller, epoch = SIGNER.read(_token(), NOW)
    assert caller == Caller("a1", "doctor", "staff", "s1", int(NOW.timestamp()) + 900)
    assert (caller.actor, epoch) == (Actor("a1", "doctor"), 3)


def test_a_token_for_a_call_names_the_call():
    caller, _ = SIGNER.read(_token(scope="call", call="c1"), NOW)
    assert (caller.scope, caller.call) == ("call", "c1")


def test_a_token_lives_as_long_as_it_says():
    SIGNER.read(_token(), NOW + timedelta(seconds=898))
    _refused(_token(), NOW + timedelta(seconds=900))


def test_tokens_of_an_earlier_key_are_read_while_the_key_is_kept():
    changed = TokenSigner({"k1": KEY, "k2": OTHER}, "k2")
    assert changed.read(_token(), NOW) == SIGNER.read(_token(), NOW)
    assert jwt.get_unverified_header(_token(changed))["kid"] == "k2"
    _refused(_token(), signer=TokenSigner({"k2": OTHER}, "k2"))


def test_a_token_signed_by_another_or_by_nobody_is_refused():
    _refused(_token(TokenSigner({"k1": OTHER}, "k1")))
    claims = jwt.decode(_token(), options={"verify_signature": False})
    _refused(jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"}))
    _refused(jwt.encode(claims, KEY * 2, algorithm="HS512", headers={"kid": "k1"}))
    _refused(jwt.encode(claims, KEY, algorithm="HS256"))
    SIGNER.read(jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": "k1"}), NOW)


@pytest.mark.parametrize("claim", ["sub", "aud", "exp", "sid", "epoch"])
def test_a_token_that_lacks_a_claim_is_refused(claim):
    claims = jwt.decode(_token(), options={"verify_signature": False})
    del claims[claim]
    _refused(jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": "k1"}))


def test_a_token_for_another_audience_is_refused():
    claims = jwt.decode(_token(), options={"verify_signature": False}) | {"aud": "machine"}
    _refused(jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": "k1"}))


@given(st.integers(0, 1000), st.characters(codec="latin-1"))
def test_a_changed_token_is_refused_or_means_the_same(place, char):
    token = _token()
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    try:
        assert SIGNER.read(changed, NOW) == SIGNER.read(token, NOW)
    except Unauthenticated:
        assert changed != token


@example("\ud800.e30.e30")
@given(st.text(st.characters(codec="latin-1")) | st.from_regex(r"\A[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}\Z"))
def test_what_is_no_token_is_refused(said):
    _refused(said)


def test_a_header_nested_too_deep_is_refused():
    nested = jwt.utils.base64url_encode(b'{"kid":' + b"[" * 20_000).decode()
    _refused(f"{nested}.e30.e30")


# --- authenticate: the token, and what Redis knows against it ---------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What `authenticate` uses of the context."""

    clock: Any
    tokens: Any
    revocations: Any


@pytest.fixture
def ctx(io_loop, redis):
    io_loop.run_sync(redis.flushall)
    return cast("Context", Asked(CLOCK, SIGNER, Revocations(redis)))


@pytest.mark.gen_test
async def test_a_standing_session_lets_its_caller_in(ctx):
    assert await authenticate(ctx, _token()) == SIGNER.read(_token(), NOW)[0]


@pytest.mark.gen_test
async def test_a_revoked_session_lets_nobody_in_and_others_stay(ctx):
    await ctx.revocations.revoke_session(session="s1", account="a1", seconds=900)
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, _token())
    assert (await authenticate(ctx, _token(session="s2"))).session == "s2"


@pytest.mark.gen_test
async def test_a_raised_epoch_calls_back_the_tokens_below_it(ctx):
    await ctx.revocations.set_epoch("a1", 4, 900)
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, _token(epoch=3))
    assert (await authenticate(ctx, _token(epoch=4))).id == "a1"
    assert (await authenticate(ctx, _token(account="a2", epoch=3))).id == "a2"


@pytest.mark.gen_test
async def test_with_redis_away_the_signature_decides(ctx):
    away = connect("redis://127.0.0.1:1")
    ctx = replace(ctx, revocations=Revocations(away))
    assert (await authenticate(ctx, _token())).id == "a1"
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, _token(TokenSigner({"k1": OTHER}, "k1")))
    await away.aclose()
