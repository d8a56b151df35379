"""Offers and candidates of strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtc.ice import CANDIDATE_BYTES, CANDIDATES, Section, read_candidate, read_offer, servers_of
from rtc.media import IceServer, OfferRefused
from tests.rtc.offers import CANDIDATE, GOOD, HOSTILE, replaced, text

SECTIONS = [Section("audio", "0"), Section("video", "1")]


def refusal(sdp, media="video"):
    with pytest.raises(OfferRefused) as refused:
        read_offer(sdp, media)
    return refused.value.reason


@pytest.mark.parametrize(("sdp", "reason"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_an_offer_is_refused_with_a_stable_word(sdp, reason):
    assert refusal(sdp) == reason


def test_an_offer_of_sound_and_picture_is_read():
    offer = read_offer(text(*GOOD), "video")
    assert offer.sections == SECTIONS
    assert offer.sdp == text(*GOOD)


def test_a_call_of_sound_takes_no_picture():
    assert refusal(text(*GOOD), "audio") == "video_in_audio_call"
    sound = text(*(line.replace("BUNDLE 0 1", "BUNDLE 0") for line in GOOD[: GOOD.index("a=ssrc:1 cname:x") + 1]))
    assert read_offer(sound, "audio").sections == SECTIONS[:1]


def test_common_attributes_may_stand_before_the_sections():
    moved = [line for line in GOOD if not line.startswith(("a=ice-", "a=fingerprint", "a=setup"))]
    common = [line for line in GOOD[6:12] if line.startswith(("a=ice-", "a=fingerprint", "a=setup"))]
    assert read_offer(text(*moved[:5], *common, *moved[5:]), "video").sections == SECTIONS


def test_names_of_the_local_network_are_left_out():
    local = CANDIDATE.replace("192.0.2.7", "0f83a1c2-1d2e-4f3a-9b4c-5d6e7f8a9b0c.LOCAL")
    offer = read_offer(text(*GOOD, local, *[CANDIDATE] * CANDIDATES, "a=end-of-candidates"), "video")
    assert ".local" not in offer.sdp.lower()
    assert offer.sdp == text(*GOOD, *[CANDIDATE] * CANDIDATES)


@given(st.text(max_size=300))
def test_any_text_is_answered_with_a_refusal(noise):
    assert refusal(noise)


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.text(st.characters(codec="ascii"), max_size=40))
def test_an_offer_that_was_tampered_with_is_read_or_refused(begin, end, noise):
    try:
        offer = read_offer(text(*GOOD[:begin], noise, *GOOD[end:]), "video")
    except OfferRefused:
        return
    assert [section.kind for section in offer.sections] in (["audio"], ["video"], ["audio", "video"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"candidate": None},
        {"candidate": 7, "sdpMid": "0"},
        {"candidate": "candidate:1 1 udp", "sdpMid": "0"},
        {"candidate": "candidate:1 1 udp x 192.0.2.7 5000 typ host", "sdpMid": "0"},
        {"candidate": "candidate:1 1 udp 5 example.org 5000 typ host", "sdpMid": "0"},
        {"candidate": "candidate:1 1 udp 5 192.0.2.7 70000 typ host", "sdpMid": "0"},
        {"candidate": "candidate:1 1 udp 5 192.0.2.7 0 typ host", "sdpMid": "0"},
        {"candidate": CANDIDATE.removeprefix("a="), "sdpMid": "7"},
        {"candidate": CANDIDATE.removeprefix("a="), "sdpMLineIndex": True},
        {"candidate": CANDIDATE.removeprefix("a="), "sdpMLineIndex": 2},
        {"candidate": CANDIDATE.removeprefix("a=")},
        {"candidate": "candidate:" + "1" * CANDIDATE_BYTES, "sdpMid": "0"},
        {"candidate": CANDIDATE.replace("host", "咳嗽"), "sdpMid": "0"},
    ],
)
def test_what_is_no_candidate_is_refused(given):
    with pytest.raises(OfferRefused, match="candidate"):
        read_candidate(given, SECTIONS)


@pytest.mark.parametrize("place", [{"sdpMid": "1"}, {"sdpMLineIndex": 1}, {"sdpMid": "0", "sdpMLineIndex": 0}])
def test_a_candidate_belongs_to_the_one_transport(place):
    candidate = read_candidate({"candidate": CANDIDATE.removeprefix("a="), **place}, SECTIONS)
    assert (candidate.ip, candidate.port, candidate.sdpMid, candidate.sdpMLineIndex) == ("192.0.2.7", 5000, "0", 0)


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        CANDIDATE.replace("192.0.2.7", "some-name.local"),
        CANDIDATE.replace(" udp ", " tcp "),
        CANDIDATE.replace("1 1 udp", "1 2 udp"),
    ],
)
def test_candidates_of_no_use_are_passed_over(candidate):
    assert read_candidate({"candidate": candidate, "sdpMid": "0"}, SECTIONS) is None


@given(st.text(max_size=80))
def test_no_candidate_raises_anything_else(noise):
    with pytest.raises(OfferRefused):
        read_candidate({"candidate": "candidate:" + noise + "x", "sdpMid": "7"}, SECTIONS)


def test_no_servers_means_none_and_not_the_librarys_own():
    assert servers_of(()) == []
    made = servers_of((IceServer(("turn:turn.example:3478",), "170:call", "secret"),))[0]
    assert (made.urls, made.username, made.credential) == (["turn:turn.example:3478"], "170:call", "secret")


def test_refusals_do_not_repeat_what_was_sent():
    assert "AB:AB" not in str(refusal(replaced("a=setup:actpass", "a=setup:passive")))
