"""One stream that we send to a leg: continuous whatever sends into it, with a memory for retransmissions."""

import secrets
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiortc.rtp import RtcpSenderInfo

from rtc.packets import Rtp, ahead, build, wrap_rtx

# Packets kept for retransmission: four seconds of 1 Mbit/s; a packet is asked for within one.
MEMORY_PACKETS: Final = 512
# A second's worth of retransmissions: more would let a few small NACKs make us send a flood.
RETRANSMISSIONS_A_SECOND: Final = 300
# Sender reports are answered within the seconds that their numbers stay here.
_REPORTS: Final = 8


class Codec(NamedTuple):
    """What two sides must have in common for packets to pass: the MIME type in lower case and H264's profile."""

    name: str
    profile: str = ""


@dataclass(frozen=True)
class Format:
    """How one leg spells a codec: its payload types (`rtx` None: no retransmission) and its clock."""

    codec: Codec
    payload_type: int
    rtx: int | None
    clock_rate: int


@dataclass
class _Splice:
    """How the source's numbers become ours."""

    source: int
    sequence: int
    timestamp: int


class Outgoing:
    """One SSRC to a leg. `formats` are those the leg takes, the preferred first."""

    def __init__(
        self, kind: str, ssrc: int, rtx_ssrc: int, formats: tuple[Format, ...], extension_id: int | None
    ) -> None:
        self.kind, self.ssrc, self.rtx_ssrc = kind, ssrc, rtx_ssrc
        self._formats = formats
        self._format_of: dict[Codec, Format | None] = {}
        self.extension_id = extension_id
        self._splice: _Splice | None = None
        # Sequence, payload type of a retransmission (-1: none) and packet. Such tuples hold nothing that the garbage
        # collector follows, so that it does not walk through tens of thousands of them.
        self._memory: list[tuple[int, int, bytes] | None] = [None] * MEMORY_PACKETS
        # Small at first: the cipher derives its rollover counter from it (RFC 3711, 3.3.1).
        self._sequence = secrets.randbelow(1 << 14)
        self._rtx_sequence = secrets.randbelow(1 << 14)
        self._timestamp = secrets.randbits(32)
        self._at: float | None = None
        self.packets = self.octets = self.retransmitted = 0
        self._retransmitted_in = (0.0, 0)
        self._reported: dict[int, float] = {}

    def format_for(self, codec: Codec) -> Format | None:
        """How the leg spells a codec; H264 of another profile passes, decoders care about the stream's own header."""
        if codec not in self._format_of:
            same = [one for one in self._formats if one.codec == codec]
            alike = [one for one in self._formats if one.codec.name == codec.name]
            self._format_of[codec] = next(iter(same or alike), None)
        return self._format_of[codec]

    def forward(self, packet: Rtp, codec: Codec, now: float) -> bytes | None:
        """The packet as the leg is to get it; None when the leg knows no such codec."""
        form = self.format_for(codec)
        if form is None:
            return None
        splice = self._splice
        if splice is None or splice.source != packet.ssrc:
            splice = self._splice = self._join(packet, form, now)
        sequence = packet.sequence + splice.sequence & 0xFFFF
        timestamp = packet.timestamp + splice.timestamp & 0xFFFFFFFF
        out = build(
            form.payload_type,
            packet.marker,
            sequence,
            timestamp,
            self.ssrc,
            packet.payload,
            self.extension_id,
            packet.extension,
        )  # fmt: skip -- one line of numbers
        self._memory[sequence % MEMORY_PACKETS] = (sequence, -1 if form.rtx is None else form.rtx, out)
        self.packets += 1
        self.octets += len(packet.payload)
        if ahead(sequence, self._sequence) > 0:
            self._sequence = sequence
            self._timestamp, self._at = timestamp, now
        return out

    def _join(self, packet: Rtp, form: Format, now: float) -> _Splice:
        """Go on where the last source stopped: the next number, and as much time as has passed."""
        passed = max(1, round((now - self._at) * form.clock_rate)) if self._at is not None else 0
        return _Splice(
            packet.ssrc,
            self._sequence + 1 - packet.sequence & 0xFFFF,
            self._timestamp + passed - packet.timestamp & 0xFFFFFFFF,
        )

    def rejoin(self) -> None:
        """Another source follows, even if it should use the same SSRC."""
        self._splice = None

    def retransmit(self, sequence: int, now: float) -> bytes | None:
        """What to send for a NACK; None when it is not remembered any more, or too many were asked for."""
        kept = self._memory[sequence % MEMORY_PACKETS]
        if kept is None or kept[0] != sequence:
            return None
        since, count = self._retransmitted_in
        if now - since >= 1:
            since, count = now, 0
        if count >= RETRANSMISSIONS_A_SECOND:
            return None
        self._retransmitted_in = (since, count + 1)
        _, rtx, packet = kept
        self.retransmitted += 1
        if rtx < 0:
            return packet
        self._rtx_sequence = self._rtx_sequence + 1 & 0xFFFF
        return wrap_rtx(packet, rtx, self._rtx_sequence, self.rtx_ssrc)

    def sender_report(self, source: int, ntp: int, timestamp: int, now: float) -> RtcpSenderInfo | None:
        """The source's report in our numbers: its NTP time stays, the far side aligns sound and picture by it."""
        if self._splice is None or self._splice.source != source:
            return None
        self._reported[ntp >> 16 & 0xFFFFFFFF] = now
        while len(self._reported) > _REPORTS:
            del self._reported[next(iter(self._reported))]
        return RtcpSenderInfo(
            ntp_timestamp=ntp,
            rtp_timestamp=timestamp + self._splice.timestamp & 0xFFFFFFFF,
            packet_count=self.packets & 0xFFFFFFFF,
            octet_count=self.octets & 0xFFFFFFFF,
        )

    def round_trip(self, lsr: int, dlsr: int, now: float) -> float | None:
        """Seconds to the leg and back by its receiver report; None when it refers to no report of ours."""
        sent = self._reported.get(lsr)
        return None if sent is None else max(0.0, now - sent - dlsr / 65536)
