"""A stream to a leg stays one stream, whoever sends into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtc import packets
from rtc.outgoing import MEMORY_PACKETS, RETRANSMISSIONS_A_SECOND, Codec, Format, Outgoing
from rtc.packets import Rtp

VP8, H264, BASELINE = Codec("vp8"), Codec("h264", "42e0"), Codec("h264", "4200")
FORMATS = (Format(VP8, 97, 98, 90_000), Format(BASELINE, 101, None, 90_000))


def outgoing(extension_id=3):
    return Outgoing("video", 1000, 1001, FORMATS, extension_id)


def packet(sequence, timestamp=0, ssrc=7, payload=b"picture", extension=None):
    return Rtp(120, True, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, payload, extension)


def sent(stream, one, codec=VP8, now=0.0):
    return packets.parse(stream.forward(one, codec, now), 3)


def test_only_the_numbers_of_the_header_change():
    out = sent(outgoing(), packet(5, 9000, extension=b"tim"))
    assert (out.payload_type, out.marker, out.ssrc) == (97, True, 1000)
    assert (out.payload, out.extension) == (b"picture", b"tim")


def test_a_leg_without_the_extension_gets_none():
    out = packets.parse(outgoing(None).forward(packet(5, extension=b"tim"), VP8, 0.0), 3)
    assert out.extension is None


@given(st.integers(0, 0xFFFF), st.lists(st.integers(1, 30), max_size=50))
def test_gaps_of_the_source_stay_gaps(first, steps):
    stream, places = outgoing(), [0]
    for step in steps:
        places.append(places[-1] + step)
    numbers = [sent(stream, packet(first + place, 3000 * place)).sequence for place in places]
    assert [number - numbers[0] & 0xFFFF for number in numbers] == [place & 0xFFFF for place in places]


@given(*[st.integers(0, 0xFFFF)] * 2, *[st.integers(0, 0xFFFFFFFF)] * 2, st.integers(1, 20))
def test_another_source_goes_on_where_the_last_one_stopped(sequence, other, timestamp, moment, seconds):
    stream = outgoing()
    last = sent(stream, packet(sequence, timestamp), now=100.0)
    following = sent(stream, packet(other, moment, ssrc=8), now=100.0 + seconds)
    assert packets.ahead(following.sequence, last.sequence) == 1
    assert packets.ticks_ahead(following.timestamp, last.timestamp) == seconds * 90_000


def test_a_source_that_begins_anew_with_the_same_ssrc_is_another_one():
    stream = outgoing()
    last = sent(stream, packet(500, 1000), now=1.0)
    stream.rejoin()
    assert packets.ahead(sent(stream, packet(9, 5), now=2.0).sequence, last.sequence) == 1


def test_a_late_packet_does_not_move_the_end_back():
    stream = outgoing()
    sent(stream, packet(5))
    last = sent(stream, packet(7))
    assert packets.ahead(sent(stream, packet(6)).sequence, last.sequence) == -1
    assert packets.ahead(sent(stream, packet(50, ssrc=8)).sequence, last.sequence) == 1


def test_what_the_leg_cannot_decode_is_not_sent():
    stream = outgoing()
    assert stream.forward(packet(5), Codec("av1"), 0.0) is None
    assert stream.packets == 0


def test_h264_of_another_profile_passes():
    assert sent(outgoing(), packet(5), H264).payload_type == 101


def test_a_lost_packet_is_sent_again_as_a_retransmission():
    stream = outgoing()
    first = stream.forward(packet(5, 9000), VP8, 0.0)
    original = packets.parse(first)
    again = packets.parse(stream.retransmit(original.sequence, 0.0))
    assert (again.payload_type, again.ssrc) == (98, 1001)
    assert packets.unwrap_rtx(again, 97, 1000) == original
    later = packets.parse(stream.retransmit(original.sequence, 0.0))
    assert packets.ahead(later.sequence, again.sequence) == 1


def test_without_a_retransmission_format_the_packet_itself_is_sent_again():
    stream = outgoing()
    first = stream.forward(packet(5), BASELINE, 0.0)
    assert stream.retransmit(packets.parse(first).sequence, 0.0) == first


def test_old_packets_are_forgotten():
    stream = outgoing()
    first = sent(stream, packet(0)).sequence
    for number in range(1, MEMORY_PACKETS + 1):
        stream.forward(packet(number), VP8, 0.0)
    assert stream.retransmit(first, 0.0) is None
    assert stream.retransmit(first + 1 & 0xFFFF, 0.0) is not None
    assert stream.retransmit(first - 1 & 0xFFFF, 0.0) is None


def test_nobody_can_make_us_send_a_flood():
    stream = outgoing()
    number = sent(stream, packet(5)).sequence
    answers = [stream.retransmit(number, 1.5) for _ in range(RETRANSMISSIONS_A_SECOND + 50)]
    assert [one is None for one in answers].count(True) == 50
    assert stream.retransmit(number, 2.5) is not None


def test_the_sender_report_keeps_the_wall_clock_and_gets_our_timestamp():
    stream = outgoing()
    out = sent(stream, packet(5, 9000))
    info = stream.sender_report(7, 0xAAAA_BBBB_CCCC_DDDD, 9000 + 4500, 10.0)
    assert (info.ntp_timestamp, info.packet_count, info.octet_count) == (0xAAAA_BBBB_CCCC_DDDD, 1, 7)
    assert packets.ticks_ahead(info.rtp_timestamp, out.timestamp) == 4500
    assert stream.sender_report(8, 1, 1, 10.0) is None


def test_the_round_trip_is_told_by_the_answer_to_a_report():
    stream = outgoing()
    stream.forward(packet(5), VP8, 0.0)
    stream.sender_report(7, 0xAAAA_BBBB_CCCC_DDDD, 9000, 10.0)
    assert stream.round_trip(0xBBBB_CCCC, 0x8000, 10.6) == pytest.approx(0.1)
    assert stream.round_trip(1, 0, 10.6) is None
    for number in range(20):
        stream.sender_report(7, number << 16, 9000, 11.0)
    assert stream.round_trip(0xBBBB_CCCC, 0, 12.0) is None
