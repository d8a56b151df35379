from datetime import UTC, datetime, timedelta

from core.context import Turn
from rtc import turn
from rtc.media import IceServer

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)
RELAYS = Turn(("stun:t.example.org:3478", "turn:t.example.org:3478?transport=udp", "turns:t.example.org:5349"), "north")


def test_the_password_is_the_one_that_coturn_computes():
    # RFC 2202's second vector of HMAC-SHA1, in base64.
    assert turn.password("Jefe", "what do ya want for nothing?") == "7/zfauXrL6LSdBbV8YTfnCWafHk="


def test_a_credential_is_the_accounts_and_outlives_the_longest_call():
    stun, relay = turn.mint(RELAYS, "01ACCOUNT", now=NOW, longest_call=TWO_HOURS)
    expiry, account = relay.username.split(":")
    assert account == "01ACCOUNT"
    assert int(expiry) >= (NOW + TWO_HOURS).timestamp()
    assert relay.credential == turn.password("north", relay.username)
    assert relay.urls == RELAYS.urls[1:]
    assert stun == IceServer(urls=RELAYS.urls[:1])


def test_each_offer_has_its_own():
    first = turn.mint(RELAYS, "01ACCOUNT", now=NOW, longest_call=TWO_HOURS)
    later = turn.mint(RELAYS, "01ACCOUNT", now=NOW + timedelta(seconds=1), longest_call=TWO_HOURS)
    assert first[1].credential != later[1].credential


def test_a_hospital_without_relays_tells_of_none():
    assert turn.mint(Turn(), "01ACCOUNT", now=NOW, longest_call=TWO_HOURS) == ()


def test_what_is_shown_is_a_browsers_ice_server_and_is_read_back():
    servers = turn.mint(RELAYS, "01ACCOUNT", now=NOW, longest_call=TWO_HOURS)
    shown = [turn.shown(server) for server in servers]
    assert [sorted(one) for one in shown] == [["urls"], ["credential", "urls", "username"]]
    assert tuple(turn.read(one) for one in shown) == servers
