import pytest

from simulators.store import Store
from simulators.wechat_login.state import Codes, Tokens, WeChatError, openid_of, unionid_of
from tests.clock import SettableClock

APPID = "wx00000000000demo1"
PERSON = {"phone": "13800000001", "appid": None}


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def kept(io_loop, tmp_path):
    store = Store(tmp_path / "state.sqlite3")
    yield store
    io_loop.run_sync(store.stop)


@pytest.fixture
def codes(kept, clock):
    return Codes(kept, lambda: clock.now().timestamp())


@pytest.fixture
def tokens(kept, clock):
    return Tokens(kept, lambda: clock.now().timestamp())


def errcode(call, *arguments, **options):
    with pytest.raises(WeChatError) as refused:
        call(*arguments, **options)
    return refused.value.errcode


def test_ids_are_the_same_every_time_and_of_the_true_length():
    openid = openid_of(APPID, "13800000001")
    assert openid == openid_of(APPID, "13800000001")
    assert len({openid, openid_of("wx00000000000demo2", "13800000001"), openid_of(APPID, "13800000002")}) == 3
    assert (len(openid), openid[0], len(unionid_of("13800000001"))) == (28, "o", 28)


def test_code_holds_once_and_five_minutes(codes, clock):
    code, late = codes.mint("login", PERSON), codes.mint("login", PERSON)
    clock.step(300)
    assert codes.redeem("login", code, APPID)["phone"] == "13800000001"
    assert errcode(codes.redeem, "login", code, APPID) == 40163
    clock.step(1)
    assert errcode(codes.redeem, "login", late, APPID) == 40029


def test_used_phone_code_has_the_one_word_for_all_bad_ones(codes):
    code = codes.mint("phone", PERSON)
    codes.redeem("phone", code, APPID)
    assert errcode(codes.redeem, "phone", code, APPID) == 40029


def test_code_of_another_mini_program_is_refused_and_stays_good(codes):
    code = codes.mint("login", PERSON | {"appid": APPID})
    assert errcode(codes.redeem, "login", code, "wx00000000000demo2") == 40029
    assert codes.redeem("login", code, APPID)["phone"] == "13800000001"


def test_normal_call_answers_the_token_that_holds(tokens, clock):
    token, seconds = tokens.hand_out(APPID, force=False)
    assert (len(token), seconds) == (136, 7200)
    clock.step(100)
    assert tokens.hand_out(APPID, force=False) == (token, 7100)
    assert tokens.appid_of(token) == APPID


def test_next_token_is_handed_out_five_minutes_early_and_both_hold(tokens, clock):
    token, _ = tokens.hand_out(APPID, force=False)
    clock.step(6900)
    following, seconds = tokens.hand_out(APPID, force=False)
    assert (following != token, seconds) == (True, 7200)
    assert [tokens.appid_of(token), tokens.appid_of(following)] == [APPID, APPID]
    clock.step(301)
    assert errcode(tokens.appid_of, token) == 42001
    assert tokens.appid_of(following) == APPID


def test_forced_refresh_replaces_the_token_at_once_but_not_twice_in_half_a_minute(tokens, clock):
    token, _ = tokens.hand_out(APPID, force=False)
    forced, _ = tokens.hand_out(APPID, force=True)
    assert errcode(tokens.appid_of, token) == 40001
    assert tokens.hand_out(APPID, force=True)[0] == forced
    clock.step(31)
    assert tokens.hand_out(APPID, force=True)[0] != forced


def test_twenty_first_forced_refresh_of_a_day_is_refused(tokens, clock):
    for _ in range(20):
        tokens.hand_out(APPID, force=True)
        clock.step(31)
    assert errcode(tokens.hand_out, APPID, force=True) == 45009


def test_revoked_token_is_refused_whether_or_not_it_is_still_handed_out(tokens):
    token, _ = tokens.hand_out(APPID, force=False)
    tokens.revoke(APPID, still_handed_out=True)
    assert errcode(tokens.appid_of, token) == 40001
    assert tokens.hand_out(APPID, force=False)[0] == token
    tokens.revoke(APPID)
    assert tokens.hand_out(APPID, force=False)[0] != token
