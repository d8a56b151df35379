"""Reading and writing RTP."""

import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from rtc import packets
from rtc.packets import Rtp

SEQUENCES = st.integers(0, 0xFFFF)
TIMESTAMPS = st.integers(0, 0xFFFFFFFF)
TYPES = st.integers(0, 127)


@given(
    TYPES,
    st.booleans(),
    SEQUENCES,
    TIMESTAMPS,
    TIMESTAMPS,
    st.binary(max_size=60),
    st.none() | st.binary(min_size=1, max_size=16),
)
def test_what_was_built_is_read_again(payload_type, marker, sequence, timestamp, ssrc, payload, extension):
    data = packets.build(payload_type, marker, sequence, timestamp, ssrc, payload, 3, extension)
    assert packets.parse(data, 3) == Rtp(payload_type, marker, sequence, timestamp, ssrc, payload, extension)
    assert packets.parse(data, 4) == Rtp(payload_type, marker, sequence, timestamp, ssrc, payload, None)


@given(TYPES, st.booleans(), SEQUENCES, TIMESTAMPS, TIMESTAMPS, st.binary(min_size=1, max_size=60))
def test_another_implementation_reads_it_too(payload_type, marker, sequence, timestamp, ssrc, payload):
    read = RtpPacket.parse(packets.build(payload_type, marker, sequence, timestamp, ssrc, payload, 3, b"abc"))
    assert (read.payload_type, bool(read.marker), read.sequence_number) == (payload_type, marker, sequence)
    assert (read.timestamp, read.ssrc, read.payload) == (timestamp, ssrc, payload)


@given(st.binary(max_size=80), st.integers(1, 14))
def test_nothing_is_raised_for_rubbish(data, extension_id):
    read = packets.parse(data, extension_id)
    assert read is None or len(read.payload) < len(data)


@given(st.binary(max_size=60))
def test_nothing_is_raised_for_rubbish_after_a_good_first_byte(data):
    for first in (0x80, 0x90, 0xA0, 0xB5, 0xBF):
        packets.parse(bytes((first,)) + data, 3)


@given(SEQUENCES, st.integers(-32768, 32767))
def test_a_sequence_number_is_ahead_across_the_end_of_the_range(sequence, step):
    assert packets.ahead(sequence + step & 0xFFFF, sequence) == step


@given(TIMESTAMPS, st.integers(-(2**31), 2**31 - 1))
def test_a_timestamp_is_ahead_across_the_end_of_the_range(timestamp, step):
    assert packets.ticks_ahead(timestamp + step & 0xFFFFFFFF, timestamp) == step


@pytest.mark.parametrize("extension", [None, b"xyz"])
def test_a_retransmission_carries_the_original_and_its_sequence_number(extension):
    original = packets.build(97, True, 700, 9000, 11, b"picture", 3, extension)
    wrapped = packets.parse(packets.wrap_rtx(original, 98, 5, 12), 3)
    assert wrapped == Rtp(98, True, 5, 9000, 12, b"\x02\xbcpicture", extension)
    assert packets.unwrap_rtx(wrapped, 97, 11) == packets.parse(original, 3)


def test_padding_in_a_retransmission_stream_is_no_packet():
    assert packets.unwrap_rtx(Rtp(98, False, 5, 9000, 12, b"\x02\xbc", None), 97, 11) is None
    assert packets.unwrap_rtx(Rtp(98, False, 5, 9000, 12, b"", None), 97, 11) is None


def test_padding_and_sources_are_left_out():
    data = bytes((0xA1, 96)) + (7).to_bytes(2, "big") + bytes(8) + b"csrc" + b"voice" + b"\0\0\3"
    assert packets.parse(data).payload == b"voice"


def test_rtcp_is_told_from_rtp_by_its_second_byte():
    assert packets.is_rtcp(bytes((0x80, 200)))
    assert packets.is_rtcp(bytes((0x81, 206)))
    assert not packets.is_rtcp(bytes((0x80, 0x80 | 97)))
    assert not packets.is_rtcp(bytes((0x80, 111)))
