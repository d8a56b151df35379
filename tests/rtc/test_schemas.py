import pytest
from marshmallow import ValidationError

from core.errors import TooLarge
from rtc import schemas

CALL = "01J0000000000000000000000A"


def candidate(**changes):
    return {"candidate": "candidate:1 1 udp 1 10.0.0.1 5000 typ host"} | changes


def candidates(*several):
    return {"call": CALL, "generation": 1, "candidates": list(several)}


@pytest.mark.parametrize("sdp", ["", 5, None, "\ud800"])
def test_a_description_is_text(sdp):
    assert list(schemas.Offer().validate({"call": CALL, "generation": 1, "sdp": sdp})) == ["sdp"]


@pytest.mark.parametrize("generation", [0, -1, 2**31, 1.5, True, "1", None])
def test_generations_are_whole_numbers_from_one(generation):
    assert list(schemas.Offer().validate({"call": CALL, "generation": generation, "sdp": "v=0"})) == ["generation"]


def test_what_is_too_long_is_too_large_in_bytes():
    longest = "é" * (schemas.SDP_BYTES // 2)
    assert schemas.Offer().load({"call": CALL, "generation": 1, "sdp": longest})["sdp"] == longest
    with pytest.raises(TooLarge):
        schemas.Offer().load({"call": CALL, "generation": 1, "sdp": longest + "v"})
    with pytest.raises(TooLarge):
        schemas.Candidates().load(candidates(candidate(candidate="x" * (schemas.CANDIDATE_BYTES + 1))))


def test_candidates_come_as_browsers_write_them_and_not_too_many_at_once():
    whole = candidate(sdpMid="0", sdpMLineIndex=0, usernameFragment="abcd")
    assert schemas.Candidates().load(candidates(whole))["candidates"] == [whole]
    assert schemas.Candidates().load(candidates({"candidate": ""}))["candidates"][0]["sdpMid"] is None
    for wrong in ([], [candidate()] * (schemas.CANDIDATES + 1), [candidate(more=1)], [{}]):
        assert list(schemas.Candidates().validate(candidates(*wrong))) == ["candidates"]


def test_stats_are_numbers_within_reason_or_nothing():
    told = schemas.Stats().load({"call": CALL, "loss": 0.5})
    assert told == {"call": CALL, "loss": 0.5, "jitter": None, "round_trip": None, "bitrate": None}
    for wrong in ({"loss": 1.1}, {"jitter": -1}, {"bitrate": float("nan")}, {"round_trip": "x"}):
        assert list(schemas.Stats().validate({"call": CALL} | wrong)) == list(wrong)


@pytest.mark.parametrize("call", ["", "x", CALL + "\n", CALL.lower(), None, 5])
def test_a_call_is_named_by_its_id(call):
    with pytest.raises(ValidationError):
        schemas.OneCall().load({"call": call})


def test_answering_names_the_version_that_was_agreed_to():
    assert list(schemas.Accept().validate({"call": CALL})) == ["consent"]
    assert list(schemas.Accept().validate({"call": CALL, "consent": {}})) == ["consent"]
    assert schemas.Accept().validate({"call": CALL, "consent": {"version": "2026-1"}}) == {}


@pytest.mark.parametrize(
    ("asked", "is_taken"),
    [
        ({"reason": "病情复核"}, True),
        ({"reason": "x" * 200, "variant": "0123456789abcdef/doctor-1-12.webm"}, True),
        ({"reason": "x" * 201}, False),
        ({"reason": ""}, False),
        ({}, False),
        ({"reason": "复核", "variant": "0123456789abcdef/../manifest.json"}, False),
        ({"reason": "复核", "variant": "film\n"}, False),
    ],
)
def test_a_recording_is_asked_for_with_a_reason_and_by_a_name_of_its_files(asked, is_taken):
    assert (schemas.AskRecording().validate(asked) == {}) is is_taken
