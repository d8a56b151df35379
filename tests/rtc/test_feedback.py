"""RTCP."""

from aiortc.rtp import RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket, RtcpSenderInfo, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from rtc import feedback


def test_what_is_written_is_read():
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=2, packet_count=3, octet_count=4)
    block = RtcpReceiverInfo(7, 1, 2, 3, 4, 5, 6)
    compound = (
        feedback.sender_report(9, info) + feedback.receiver_report(9, [block]) + feedback.nack(9, 7, [5, 6, 900])
        + feedback.key_frame_request(9, 7) + feedback.bitrate_limit(9, 7, 500_000)
    )  # fmt: skip
    report, received, nack, request, limit = feedback.read(compound)
    assert isinstance(report, RtcpSrPacket)
    assert report.sender_info == info
    assert isinstance(received, RtcpRrPacket)
    assert received.reports == [block]
    assert isinstance(nack, RtcpRtpfbPacket)
    assert nack.lost == [5, 6, 900]
    assert isinstance(request, RtcpPsfbPacket)
    assert (request.fmt, request.media_ssrc) == (1, 7)
    assert feedback.limit_in(limit) == 500_000
    assert feedback.limit_in(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=b"REMB\x05\0\0\1")) is None


@given(st.binary(max_size=60), st.sampled_from([200, 201, 202, 203, 205, 206]), st.integers(0, 31))
def test_nothing_is_raised_for_rubbish(rest, kind, count):
    head = bytes((0x80 | count, kind)) + (len(rest) // 4).to_bytes(2, "big")
    for packet in feedback.read(head + rest):
        if isinstance(packet, RtcpPsfbPacket):
            feedback.limit_in(packet)


def test_what_is_too_short_is_nothing():
    assert list(feedback.read(b"\x80\xc8\0\0")) == []
