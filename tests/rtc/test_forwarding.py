"""Packets of one leg on their way to the other."""

import struct
from types import SimpleNamespace

import pytest
from aiortc.rtp import RtcpPsfbPacket, RtcpReceiverInfo, RtcpSenderInfo
from hypothesis import given
from hypothesis import strategies as st

from rtc import feedback, forwarding, packets
from rtc.forwarding import FLOOD_BYTES_A_SECOND, HIGHEST_BITS, SOURCES, UNHEARD_BITS, Forwarder
from rtc.incoming import Incoming
from rtc.negotiation import Payload
from rtc.outgoing import Codec, Format, Outgoing
from tests.im.house import until

pytestmark = pytest.mark.gen_test(timeout=20)

VP8, OPUS = Codec("vp8"), Codec("opus")
PAYLOADS = {
    96: Payload("video", VP8, 90_000, 3),
    97: Payload("video", VP8, 90_000, None, 96),
    111: Payload("audio", OPUS, 48_000, 2),
}


class End:
    """A forwarder and all that left it, decoded again."""

    def __init__(self, ssrc):
        self.media, self.rtcp, self.begun = [], [], 0
        self.forwarder = Forwarder(self._media, self._rtcp, begun=self._begin)
        self.forwarder.receive_as("video", {k: v for k, v in PAYLOADS.items() if v.kind == "video"}, ssrc)
        self.forwarder.receive_as("audio", {111: PAYLOADS[111]}, ssrc + 5)
        self.forwarder.send_as(Outgoing("video", ssrc, ssrc + 1, (Format(VP8, 120, 121, 90_000),), 4))
        self.forwarder.send_as(Outgoing("audio", ssrc + 5, ssrc + 6, (Format(OPUS, 100, None, 48_000),), 2))

    def _media(self, data):
        self.media.append(packets.parse(data, 4))

    def _rtcp(self, data):
        self.rtcp += feedback.read(data)

    def _begin(self):
        self.begun += 1

    def told(self, fmt):
        """Payload feedback of this format."""
        return [one for one in self.rtcp if isinstance(one, RtcpPsfbPacket) and one.fmt == fmt]


@pytest.fixture
def ends():
    near, far = End(1000), End(2000)
    near.forwarder.connect(far.forwarder)
    yield near, far
    near.forwarder.close()
    far.forwarder.close()


def picture(sequence, ssrc=7, payload_type=96, payload=b"\x10\x01picture"):
    return packets.build(payload_type, True, sequence, 3000 * sequence, ssrc, payload, 3, b"tim")


def loud(sequence, level=20):
    return packets.build(111, False, sequence, 960 * sequence, 9, b"voice", 2, bytes((level,)))


async def test_picture_and_sound_arrive_with_the_far_legs_numbers(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    near.forwarder.rtp(loud(5))
    seen, heard = far.media
    assert (seen.payload_type, seen.ssrc, seen.payload, seen.extension) == (120, 2000, b"\x10\x01picture", b"tim")
    assert (heard.payload_type, heard.ssrc, heard.payload) == (100, 2005, b"voice")
    assert near.media == []
    assert near.begun == 1


async def test_what_nobody_negotiated_is_passed_over(ends):
    near, far = ends
    near.forwarder.rtp(picture(5, payload_type=77))
    near.forwarder.rtp(b"\x90\xe0")
    near.forwarder.rtp(picture(5)[:13])
    assert far.media == []
    assert near.begun == 0


async def test_a_loss_is_asked_for_at_the_origin_and_what_comes_is_passed_on(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    near.forwarder.rtp(picture(7))
    assert near.rtcp[-1].lost == [6]
    again = packets.wrap_rtx(picture(6), 97, 400, 8)
    near.forwarder.rtp(again)
    near.forwarder.rtp(again)
    numbers = [one.sequence - far.media[0].sequence for one in far.media]
    assert numbers == [0, 2, 1]
    assert not near.forwarder.incoming["video"].is_missing_packets


async def test_asking_is_repeated_until_it_is_there(ends):
    near, _ = ends
    near.forwarder.rtp(picture(5))
    near.forwarder.rtp(picture(7))
    await until(lambda: len([one for one in near.rtcp if getattr(one, "lost", None) == [6]]) >= 3)
    near.forwarder.rtp(packets.wrap_rtx(picture(6), 97, 400, 8))
    await until(lambda: near.forwarder._retry is None)


async def test_what_the_far_leg_lacks_is_sent_again_from_memory(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    number = far.media[0].sequence
    far.forwarder.rtcp(feedback.nack(1, 2000, [number, number + 1 & 0xFFFF]))
    assert len(far.media) == 2
    assert packets.unwrap_rtx(far.media[1], 120, 2000) == far.media[0]
    far.forwarder.rtcp(feedback.nack(1, 4711, [number]))
    assert len(far.media) == 2


async def test_a_key_frame_is_asked_for_at_the_origin(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    far.forwarder.rtcp(feedback.key_frame_request(1, 2000))
    [request] = near.told(1)
    assert (request.ssrc, request.media_ssrc) == (1000, 7)
    far.forwarder.rtcp(feedback.key_frame_request(1, 2000))
    assert len(near.told(1)) == 1
    assert far.told(1) == []


async def test_the_far_legs_bandwidth_limits_the_origin(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    for bits in (300_000, 50_000_000):
        far.forwarder.rtcp(feedback.bitrate_limit(1, 2000, bits))
    first, second = near.told(15)
    assert abs(feedback.limit_in(first) - 300_000) < 10
    assert feedback.limit_in(second) == HIGHEST_BITS


async def test_who_is_not_heard_sends_no_more_than_a_recording_needs():
    alone = End(1000)
    alone.forwarder.rtp(picture(5))
    alone.forwarder.report(1.0)
    assert [feedback.limit_in(one) for one in alone.told(15)] == [UNHEARD_BITS]
    other = End(2000)
    alone.forwarder.connect(other.forwarder)
    alone.forwarder.report(2.0)
    assert len(alone.told(15)) == 1
    alone.forwarder.close()


async def test_who_comes_later_gets_a_key_frame(ends):
    alone, late = End(1000), End(2000)
    alone.forwarder.rtp(picture(5))
    assert alone.told(1) == []
    alone.forwarder.connect(late.forwarder)
    assert len(alone.told(1)) == 1


async def test_a_new_leg_goes_on_in_the_far_legs_stream(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    near.forwarder.disconnect()
    near.forwarder.rtp(picture(6))
    again = End(3000)
    again.forwarder.connect(far.forwarder)
    again.forwarder.rtp(picture(900))
    first, second = far.media
    assert packets.ahead(second.sequence, first.sequence) == 1
    assert packets.ticks_ahead(second.timestamp, first.timestamp) > 0


async def test_the_senders_clock_reaches_the_far_leg(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    info = RtcpSenderInfo(ntp_timestamp=77 << 32, rtp_timestamp=15_000, packet_count=900, octet_count=900)
    near.forwarder.rtcp(feedback.sender_report(7, info))
    [report] = far.rtcp
    assert (report.ssrc, report.sender_info.ntp_timestamp) == (2000, 77 << 32)
    assert report.sender_info.rtp_timestamp == far.media[0].timestamp
    assert report.sender_info.packet_count == 1
    near.forwarder.rtcp(feedback.sender_report(99, info))
    assert len(far.rtcp) == 1
    answer = RtcpReceiverInfo(2000, 0, 0, 0, 0, 77 << 16, 0)
    far.forwarder.rtcp(feedback.receiver_report(1, [answer]))
    assert far.forwarder.quality(5.0).round_trip < 1
    assert near.forwarder.quality(5.0).round_trip is None


async def test_quality_is_that_of_the_last_interval(ends):
    near, _ = ends
    assert near.forwarder.quality(5.0).loss is None
    for number in (1, 2, 4, 5):
        near.forwarder.rtp(loud(number))
    quality = near.forwarder.quality(2.0)
    assert (quality.loss, quality.bitrate) == (pytest.approx(0.2), 80)
    assert quality.jitter is not None
    assert near.forwarder.quality(2.0).bitrate == 0


async def test_our_reports_tell_the_origin_how_it_arrives(ends):
    near, _ = ends
    for number in (1, 2, 4):
        near.forwarder.rtp(picture(number))
    near.forwarder.report(1.0)
    [block] = near.rtcp[-1].reports
    assert (block.ssrc, block.packets_lost, block.highest_sequence) == (7, 1, 4)


async def test_silence_of_a_muted_microphone_is_no_content(ends):
    near, far = ends
    near.forwarder.rtp(loud(1, 127 | 0x80))
    assert "audio" not in near.forwarder.content_at
    near.forwarder.rtp(loud(2, 30))
    assert "audio" in near.forwarder.content_at
    assert len(far.media) == 2


async def test_ssrcs_are_bounded(ends):
    near, far = ends
    for ssrc in range(100, 100 + 3 * SOURCES):
        near.forwarder.rtp(picture(5, ssrc=ssrc))
    assert len(far.media) == SOURCES
    assert len(near.forwarder._by_ssrc) == SOURCES


async def test_a_leg_that_sends_too_much_is_cut_off_for_the_rest_of_the_second(ends, monkeypatch):
    near, far = ends
    now = [100.0]
    monkeypatch.setattr(forwarding.time, "monotonic", lambda: now[0])
    large = picture(5, payload=b"\x00" + bytes(1200))
    allowed = FLOOD_BYTES_A_SECOND // len(large)
    for _ in range(allowed + 100):
        near.forwarder.rtp(large)
    assert (len(far.media), near.forwarder.flooded) == (allowed, 100)
    now[0] = 101.0
    near.forwarder.rtp(large)
    assert len(far.media) == allowed + 1


async def test_what_is_recorded_is_what_came(ends):
    near, _ = ends
    told = []
    near.forwarder.recorder = SimpleNamespace(
        put=lambda *frame: told.append(frame[:-1]),
        restart=lambda kind: told.append(("restart", kind)),
        sender_report=lambda *report: told.append(report),
    )
    near.forwarder.rtp(loud(5))
    near.forwarder.rtp(picture(5, payload=b"\x10\x00picture"))
    near.forwarder.rtcp(feedback.sender_report(9, RtcpSenderInfo(5, 6, 7, 8)))
    assert told == [
        ("restart", "audio"),
        ("audio", "opus", 48_000, 4800, b"voice", True),
        ("restart", "video"),
        ("video", "vp8", 90_000, 15_000, b"\x00picture", True),
        ("audio", 5, 6),
    ]


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([96, 97, 111, 200, 201, 205, 206]), st.binary(max_size=40)),
        max_size=20,
    )
)
def test_a_client_that_holds_the_keys_can_send_rubbish(some):
    near, far = End(1000), End(2000)
    near.forwarder.connect(far.forwarder)
    near.forwarder._retry = SimpleNamespace(cancel=lambda: None)  # no loop runs here
    for is_rtcp, kind, rest in some:
        data = struct.pack("!BB", 0x90 if rest[:1] > b"\x80" else 0x81, kind) + rest
        (near.forwarder.rtcp if is_rtcp else near.forwarder.rtp)(data)
    assert all(isinstance(one, Incoming) for one in near.forwarder.incoming.values())
    near.forwarder.close()


async def test_a_closed_forwarder_does_nothing(ends):
    near, far = ends
    near.forwarder.rtp(picture(5))
    near.forwarder.close()
    near.forwarder.rtp(picture(6))
    near.forwarder.rtcp(feedback.key_frame_request(1, 1000))
    far.forwarder.rtp(picture(5))
    assert len(far.media) == 1
    assert near.media == []
