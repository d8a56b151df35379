"""RTCP as we send and read it (RFC 3550, 4585, 5104; REMB: draft-alvestrand-rmcat-remb-03)."""

import struct
from collections.abc import Sequence
from typing import Final

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    pack_remb_fci,
    unpack_remb_fci,
)

# A receiver that lost more than this needs a key frame; answering all would let one small packet cost hundreds.
NACKED: Final = 128
# A header of four bytes and at least the sender's SSRC.
_SHORTEST: Final = 8


def read(data: bytes) -> Sequence[AnyRtcpPacket]:
    """The packets of a compound; none for what cannot be read."""
    if len(data) < _SHORTEST:
        return ()
    try:
        return RtcpPacket.parse(data)
    except (ValueError, IndexError, struct.error):
        return ()


def nack(ssrc: int, media: int, sequences: list[int]) -> bytes:
    """Please send these again."""
    return bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=ssrc, media_ssrc=media, lost=sequences))


def key_frame_request(ssrc: int, media: int) -> bytes:
    """Picture loss indication."""
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=ssrc, media_ssrc=media))


def receiver_report(ssrc: int, reports: list[RtcpReceiverInfo]) -> bytes:
    """How what a leg sends arrives."""
    return bytes(RtcpRrPacket(ssrc=ssrc, reports=reports))


def sender_report(ssrc: int, info: RtcpSenderInfo) -> bytes:
    """Which wall clock time a timestamp stands for."""
    return bytes(RtcpSrPacket(ssrc=ssrc, sender_info=info))


def bitrate_limit(ssrc: int, media: int, bits_per_second: int) -> bytes:
    """REMB: send no more than this."""
    fci = pack_remb_fci(bits_per_second, [media])
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=ssrc, media_ssrc=0, fci=fci))


def limit_in(packet: RtcpPsfbPacket) -> int | None:
    """The bitrate of a REMB; None for any other application's feedback."""
    try:
        return unpack_remb_fci(packet.fci)[0]
    except (ValueError, struct.error, IndexError):
        return None
