"""Frames, as tables and as properties."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotFound, RateLimited
from im.frames import BATCH, CLOSES, FRAME_BYTES, BadFrame, Close, batches, event, parse, refusal, reply, text_frame

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_requests_or_a_bad_frame(frame):
    try:
        requests = parse(frame)
    except BadFrame:
        return
    assert 1 <= len(requests) <= BATCH
    assert all(isinstance(request.op, str) and isinstance(request.args, dict) for request in requests)


ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
requests = st.fixed_dictionaries(
    {"id": ids, "op": st.text(), "args": st.dictionaries(st.text(), json_values, max_size=3)}
)


@given(st.lists(requests, min_size=1, max_size=BATCH))
def test_what_is_of_the_form_is_read_as_it_was_written(said):
    read = parse(json.dumps(said))
    assert [(one.id, one.op) for one in read] == [(one["id"], one["op"]) for one in said]
    assert len(parse(json.dumps(said[0]))) == 1


def test_args_may_be_left_out():
    assert parse('{"id":"1","op":"ping"}')[0].args == {}


@pytest.mark.parametrize("char", ["x", "汉", "🙂"])
def test_the_limit_of_a_frame_is_in_bytes(char):
    def frame(size):
        shell = '{"id":"1","op":"x","args":{"a":""}}'
        return shell[:-3] + char * ((size - len(shell)) // len(char.encode())) + shell[-3:]

    parse(frame(FRAME_BYTES))
    with pytest.raises(BadFrame, match="64 KiB"):
        parse(frame(FRAME_BYTES + len(char.encode())))


def test_a_batch_has_its_limit():
    one = {"id": "1", "op": "ping"}
    assert len(parse(json.dumps([one] * BATCH))) == BATCH
    with pytest.raises(BadFrame, match="100 objects"):
        parse(json.dumps([one] * (BATCH + 1)))


def test_replies_refusals_and_events_have_the_forms_of_the_protocol():
    assert json.loads(reply("r1", {"a": "汉"})) == {"re": "r1", "ok": True, "data": {"a": "汉"}}
    assert json.loads(refusal("r1", NotFound())) == {
        "re": "r1",
        "ok": False,
        "error": {"code": "not_found", "message": "内容不存在"},
    }
    assert json.loads(refusal("r1", RateLimited(retry_after=0.25)))["error"]["retry_after_ms"] == 250
    assert json.loads(refusal("r1", RateLimited(retry_after=0.0001)))["error"]["retry_after_ms"] == 1
    assert json.loads(event("typing", {"a": 1})) == {"ev": "typing", "data": {"a": 1}}


@given(st.lists(st.integers(1, 3 * FRAME_BYTES // 2).map(lambda size: b'"' + b"x" * size + b'"'), max_size=8))
def test_batches_lose_nothing_and_fit(payloads):
    frames = batches(payloads)
    said = [one for frame in frames for one in ([json.loads(frame)] if frame[:1] == b'"' else json.loads(frame))]
    assert said == [json.loads(payload) for payload in payloads]
    assert all(len(frame) <= FRAME_BYTES or frame[:1] == b'"' for frame in frames)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_text_frame_carries_its_length_as_rfc_6455_says(size):
    frame = text_frame(b"x" * size)
    assert frame[0] == 0x81
    if size < 126:
        assert (frame[1], len(frame)) == (size, 2 + size)
    elif size <= 0xFFFF:
        assert (frame[1], struct.unpack("!H", frame[2:4])[0], len(frame)) == (126, size, 4 + size)
    else:
        assert (frame[1], struct.unpack("!Q", frame[2:10])[0], len(frame)) == (127, size, 10 + size)


def test_every_close_code_is_explained():
    assert {int(code) for code in Close} == {4001, 4003, 4008, 4009, 4012, 4013, 4029}
    assert set(CLOSES) == set(Close)
