"""Packets become frames."""

import pytest
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from hypothesis import given
from hypothesis import strategies as st

from rtc import frames
from rtc.frames import WAIT_PACKETS, WAIT_SECONDS, Assembler, Frame
from rtc.packets import Rtp
from tests.rtc.clips import HEIGHT, WIDTH, pictures


def payloads(codec, clip):
    """The frames of a clip in packets, as another implementation splits them."""
    if codec == "vp8":
        return [Vp8Encoder._packetize(one, number) for number, one in enumerate(clip)]
    return [H264Encoder._packetize(H264Encoder._split_bitstream(one)) for one in clip]


def packets(codec, first=65_500, count=20, ssrc=7):
    """All packets of the first frames of a clip."""
    made, sequence = [], first
    for number, parts in enumerate(payloads(codec, pictures(codec, 320, 240, 20)[:count])):
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            made.append(Rtp(97, last, sequence & 0xFFFF, number * 3600, ssrc, part, None))
            sequence += 1
    return made


class Sink:
    def __init__(self):
        self.frames, self.breaks = [], 0
        self.assembler = Assembler(self.frames.append, self._broke)

    def _broke(self):
        self.breaks += 1

    def put(self, some, codec="vp8", now=0.0):
        for one in some:
            self.assembler.put(one, codec, now)

    @property
    def times(self):
        return [frame.timestamp // 3600 for frame in self.frames]


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_clip_comes_out_as_it_was_encoded(codec):
    sink = Sink()
    sink.put(packets(codec), codec)
    assert sink.times == list(range(20))
    assert [frame.is_key for frame in sink.frames] == [number % 5 == 0 for number in range(20)]
    if codec == "vp8":
        assert [frame.data for frame in sink.frames] == list(pictures(codec, 320, 240, 20)[:20])
    else:
        assert sink.frames[3].data == b"".join(
            map(h264_depayload, payloads(codec, pictures(codec, 320, 240, 20)[:4])[3])
        )


@given(st.randoms())
def test_order_does_not_matter(random):
    some, sink = packets("vp8"), Sink()
    head, rest = some[:1], some[1:]
    for begin in range(0, len(rest), 8):
        part = rest[begin : begin + 8]
        random.shuffle(part)
        rest[begin : begin + 8] = part
    sink.put([*head, *rest, *rest])
    assert sink.times == list(range(20))
    assert sink.breaks == 0


def test_a_frame_waits_for_its_retransmission():
    some, sink = packets("vp8"), Sink()
    lost = some.pop(3)
    sink.put(some)
    sink.put([lost], now=WAIT_SECONDS / 2)
    assert sink.times == list(range(20))


def test_after_a_loss_pictures_begin_again_with_a_key_frame():
    some, sink = packets("vp8"), Sink()
    lost = next(place for place, one in enumerate(some) if one.timestamp == 2 * 3600)
    late = [one for one in some if one.timestamp == 19 * 3600]
    sink.put([*some[:lost], *some[lost + 1 :]])
    assert sink.times == [0, 1]
    sink.put([late[-1]._replace(sequence=late[-1].sequence + 1, timestamp=20 * 3600)], now=0.1)
    sink.put([late[-1]._replace(sequence=late[-1].sequence + 2, timestamp=21 * 3600)], now=WAIT_SECONDS + 0.2)
    assert sink.times[:3] == [0, 1, 5]
    assert sink.breaks >= 1


def test_waiting_packets_are_bounded():
    sink = Sink()
    some = packets("vp8")[:1]
    sink.put(some)
    for step in range(2, WAIT_PACKETS + 100):
        sink.put([some[0]._replace(sequence=some[0].sequence + step & 0xFFFF, timestamp=5, marker=False)])
    assert len(sink.assembler._waiting) <= WAIT_PACKETS


def test_a_stream_that_begins_in_the_middle_waits_for_a_key_frame():
    some, sink = packets("vp8"), Sink()
    sink.put(some[1:])
    assert sink.times[0] == 5
    assert sink.breaks


def test_another_source_begins_anew():
    sink = Sink()
    sink.put([*packets("vp8", count=5), *packets("vp8", first=9, count=5, ssrc=8)])
    assert sink.times == [0, 1, 2, 3, 4] * 2


def test_padding_has_a_number_but_no_picture():
    some, sink = packets("vp8", count=2), Sink()
    padding = some[0]._replace(sequence=some[-1].sequence + 1 & 0xFFFF, payload=b"", marker=False)
    more = [
        one._replace(sequence=one.sequence + 1 & 0xFFFF) for one in packets("vp8", count=3) if one.timestamp == 7200
    ]
    sink.put([*some, padding, *more])
    assert sink.times == [0, 1, 2]


@given(st.lists(st.binary(max_size=30), max_size=30), st.sampled_from(["vp8", "h264"]))
def test_nothing_is_raised_for_rubbish(parts, codec):
    sink = Sink()
    sink.put([Rtp(97, True, number, number, 7, part, None) for number, part in enumerate(parts)], codec)
    for frame in sink.frames:
        assert frames.picture_size(codec, frame.data)


@given(st.binary(max_size=30))
def test_a_descriptor_is_skipped_as_others_do(payload):
    piece = frames.vp8_piece(payload)
    try:
        expected = vp8_depayload(payload)
    except ValueError:
        expected = b""
    assert (piece.data if piece else b"") == expected


@given(st.binary(min_size=2, max_size=40))
def test_h264_is_unpacked_as_others_do(payload):
    piece = frames.h264_piece(payload)
    if piece is not None:
        assert piece.data == h264_depayload(payload)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (640, 480), (320, 180)])
def test_the_size_is_read_from_a_key_frame(codec, size):
    assert frames.picture_size(codec, pictures(codec, *size, 1)[0]) == size


def test_an_unreadable_size_is_a_nominal_one():
    assert frames.picture_size("vp8", b"\0") == (640, 480)
    assert frames.picture_size("h264", b"\0\0\0\1\x67\x42") == (640, 480)
    assert frames.picture_size("h264", b"\0\0\0\1\x41") == (640, 480)


def test_a_frame_says_what_it_is():
    sink = Sink()
    sink.put(packets("h264", count=1), "h264")
    assert isinstance(sink.frames[0], Frame)
    assert sink.frames[0].codec == "h264"
