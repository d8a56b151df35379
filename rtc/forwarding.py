"""Media of one leg: every packet goes to the far leg and to the recorder, as it came, with other numbers in its header.

Nothing is decoded. Feedback passes through in the other direction: what the far leg lacks is sent again from memory,
what we lack is asked for, key frames are asked for at the origin, and the far leg's bandwidth limits the origin.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)

from rtc import feedback
from rtc.frames import Assembler, Frame
from rtc.incoming import RETRY_SECONDS, Incoming
from rtc.media import Quality
from rtc.negotiation import Payload
from rtc.outgoing import Outgoing
from rtc.packets import Rtp, parse, unwrap_rtx
from rtc.recorder import Recorder

# Enough for a good picture of 640x480; more would fill a link for the recording alone.
UNHEARD_BITS: Final = 500_000
# What a consultation needs at most, whatever the far side could take.
HIGHEST_BITS: Final = 2_000_000
# A browser changes its SSRC when a track is replaced; more are no browser's.
SOURCES: Final = 16
# Five times what a browser is allowed: a client that sends more shall not fill the disk or the far side's line.
FLOOD_BYTES_A_SECOND: Final = 1_250_000
# Level 127 is digital silence (RFC 6464): a muted microphone.
_MUTED_LEVEL: Final = 127
Send = Callable[[bytes], None]


class Forwarder:
    """One leg's streams. It is fed with decrypted packets and gives away packets to encrypt."""

    def __init__(self, send_rtp: Send, send_rtcp: Send, *, begun: Callable[[], None]) -> None:
        self.send_rtp, self._send_rtcp, self._begun = send_rtp, send_rtcp, begun
        self.recorder: Recorder | None = None
        self.incoming: dict[str, Incoming] = {}
        self.outgoing: dict[str, Outgoing] = {}
        self.far: Forwarder | None = None
        self._payloads: dict[int, Payload] = {}
        self._report_ssrcs: dict[str, int] = {}
        self._by_ssrc: dict[int, Incoming] = {}
        self._by_out_ssrc: dict[int, Outgoing] = {}
        self._onward: dict[str, tuple[Outgoing, Send]] = {}
        self._assembler = Assembler(self._picture, self.ask_key_frame)
        self._retry: asyncio.TimerHandle | None = None
        self._round_trip: float | None = None
        self._second = (0.0, 0)
        self.flooded = 0
        self.heard_at: float | None = None
        self.content_at: dict[str, float] = {}

    # What the leg negotiated

    def receive_as(self, kind: str, payloads: Mapping[int, Payload], report_ssrc: int) -> None:
        """From now on the leg's packets of this kind are understood; `report_ssrc` is who we are in feedback."""
        self._payloads.update(payloads)
        self._report_ssrcs[kind] = report_ssrc

    def send_as(self, outgoing: Outgoing) -> None:
        """From now on the leg can be sent this kind."""
        self.outgoing[outgoing.kind] = outgoing
        self._by_out_ssrc |= {outgoing.ssrc: outgoing, outgoing.rtx_ssrc: outgoing}
        if self.far is not None:
            self.far._lead(self)

    def connect(self, far: "Forwarder") -> None:
        """Send what comes here to the far leg and the other way round."""
        for near, other in ((self, far), (far, self)):
            near.far = other
            near._lead(other)

    def _lead(self, far: "Forwarder") -> None:
        for kind, outgoing in far.outgoing.items():
            if self._onward.get(kind, (None,))[0] is not outgoing:
                outgoing.rejoin()
                self._onward[kind] = (outgoing, far.send_rtp)
        self.ask_key_frame()

    def disconnect(self) -> None:
        """The two legs have nothing to do with each other any more."""
        far, self.far = self.far, None
        self._onward.clear()
        if far is not None:
            far.far = None
            far._onward.clear()

    # Packets from the leg

    def rtp(self, data: bytes) -> None:
        """One decrypted packet; what nobody negotiated is passed over."""
        payload = self._payloads.get(data[1] & 0x7F)
        if payload is None:
            return
        packet = parse(data, payload.extension_id)
        if packet is None:
            return
        now = time.monotonic()
        if self._is_flood(len(data), now):
            return
        incoming = self._by_ssrc.get(packet.ssrc) or self._meet(packet.ssrc, payload)
        if incoming is None:
            return
        if self.heard_at is None:
            self._begun()
        self.heard_at = now
        if payload.rtx_of is not None:
            original = unwrap_rtx(packet, payload.rtx_of, incoming.ssrc)
            if original is None or not incoming.recover(original.sequence):
                return
            packet = original
        elif incoming.take(packet, now):
            self._ask_again(now)
        onward = self._onward.get(payload.kind)
        if onward is not None:
            outgoing, send = onward
            out = outgoing.forward(packet, payload.codec, now)
            if out is not None:
                send(out)
        self._note(packet, payload, now)

    def _is_flood(self, size: int, now: float) -> bool:
        """Whether the leg has sent too much within a second; what is beyond is dropped."""
        since, size_before = self._second
        if now - since >= 1:
            since, size_before = now, 0
        self._second = (since, size_before + size)
        if size_before + size <= FLOOD_BYTES_A_SECOND:
            return False
        self.flooded += 1
        return True

    def _meet(self, ssrc: int, payload: Payload) -> Incoming | None:
        """A new SSRC: the retransmissions of a stream, or the stream that takes its place."""
        current = self.incoming.get(payload.kind)
        if len(self._by_ssrc) >= SOURCES or (payload.rtx_of is not None and current is None):
            return None
        if payload.rtx_of is not None and current is not None:
            self._by_ssrc[ssrc] = current
            return current
        rates = {number: one.clock_rate for number, one in self._payloads.items()}
        incoming = self._by_ssrc[ssrc] = self.incoming[payload.kind] = Incoming(payload.kind, ssrc, rates)
        if self.recorder is not None:
            self.recorder.restart(payload.kind)
        return incoming

    def _note(self, packet: Rtp, payload: Payload, now: float) -> None:
        recorder = self.recorder
        if payload.kind == "video":
            self.content_at["video"] = now
            if recorder is not None:
                self._assembler.put(packet, payload.codec.name, now)
        elif packet.payload:
            if packet.extension is None or packet.extension[0] & 0x7F != _MUTED_LEVEL:
                self.content_at["audio"] = now
            if recorder is not None:
                recorder.put(
                    "audio", payload.codec.name, payload.clock_rate, packet.timestamp, packet.payload, True, now
                )

    def _picture(self, frame: Frame) -> None:
        if self.recorder is not None:
            now = time.monotonic()
            self.recorder.put("video", frame.codec, 90_000, frame.timestamp, frame.data, frame.is_key, now)

    # Feedback from the leg

    def rtcp(self, data: bytes) -> None:
        """One decrypted compound packet."""
        now = time.monotonic()
        for packet in feedback.read(data):
            handler = _HANDLERS.get(type(packet))
            if handler is not None:
                handler(self, packet, now)
        if self.heard_at is not None:
            self.heard_at = now

    def _on_sender_report(self, packet: RtcpSrPacket, now: float) -> None:
        self._on_receiver_report(packet, now)
        incoming, info = self._by_ssrc.get(packet.ssrc), packet.sender_info
        if incoming is None or incoming.ssrc != packet.ssrc:
            return
        incoming.sender_reported(info.ntp_timestamp, now)
        if self.recorder is not None and self.incoming.get(incoming.kind) is incoming:
            self.recorder.sender_report(incoming.kind, info.ntp_timestamp, info.rtp_timestamp)
        far = self.far
        if far is not None and (outgoing := far.outgoing.get(incoming.kind)) is not None:
            passed_on = outgoing.sender_report(packet.ssrc, info.ntp_timestamp, info.rtp_timestamp, now)
            if passed_on is not None:
                far._send_rtcp(feedback.sender_report(outgoing.ssrc, passed_on))

    def _on_receiver_report(self, packet: RtcpRrPacket | RtcpSrPacket, now: float) -> None:
        for report in packet.reports:
            outgoing = self._by_out_ssrc.get(report.ssrc)
            if outgoing is not None and report.lsr:
                self._round_trip = outgoing.round_trip(report.lsr, report.dlsr, now) or self._round_trip

    def _on_transport_feedback(self, packet: RtcpRtpfbPacket, now: float) -> None:
        outgoing = self._by_out_ssrc.get(packet.media_ssrc)
        if packet.fmt != RTCP_RTPFB_NACK or outgoing is None:
            return
        for sequence in packet.lost[: feedback.NACKED]:
            again = outgoing.retransmit(sequence, now)
            if again is not None:
                self.send_rtp(again)

    def _on_payload_feedback(self, packet: RtcpPsfbPacket, now: float) -> None:
        far = self.far
        if far is None:
            return
        if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            far.ask_key_frame()
        elif packet.fmt == RTCP_PSFB_APP and (limit := feedback.limit_in(packet)) is not None:
            far.limit_to(min(limit, HIGHEST_BITS))

    # Feedback to the leg

    def ask_key_frame(self) -> None:
        """Of the leg's picture; asking often is harmless."""
        incoming = self.incoming.get("video")
        if incoming is not None and incoming.may_ask_key_frame(time.monotonic()):
            self._send_rtcp(feedback.key_frame_request(self._report_ssrcs["video"], incoming.ssrc))

    def limit_to(self, bits_per_second: int) -> None:
        """The leg is to send no more than this."""
        incoming = self.incoming.get("video")
        if incoming is not None:
            self._send_rtcp(feedback.bitrate_limit(self._report_ssrcs["video"], incoming.ssrc, bits_per_second))

    def report(self, now: float) -> None:
        """How its streams arrive, and what to send while nobody listens; to be called every second."""
        found = [(kind, one.report(now)) for kind, one in self.incoming.items()]
        for kind, block in found:
            if block is not None:
                self._send_rtcp(feedback.receiver_report(self._report_ssrcs[kind], [block]))
        if "video" not in self._onward:
            self.limit_to(UNHEARD_BITS)

    def _ask_again(self, now: float) -> None:
        """Ask for what is missing, now and again until it is there or given up."""
        is_missing = False
        for kind, incoming in self.incoming.items():
            if incoming.is_missing_packets:
                wanted = incoming.to_ask_for(now)
                if wanted:
                    self._send_rtcp(feedback.nack(self._report_ssrcs[kind], incoming.ssrc, wanted))
                is_missing = is_missing or incoming.is_missing_packets
        if is_missing and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._ask_again(time.monotonic())

    def quality(self, seconds: float) -> Quality:
        """What came since the last time, which was `seconds` ago."""
        streams = self.incoming.values()
        counted = [one.counted() for one in streams]
        expected, received, octets = (sum(one[place] for one in counted) for place in range(3))
        return Quality(
            loss=max(0.0, min(1.0, 1 - received / expected)) if expected > 0 else None,
            jitter=max((one.jitter for one in streams), default=None),
            round_trip=self._round_trip,
            bitrate=max(0, round(8 * octets / seconds)),
        )

    def close(self) -> None:
        """Let everything go."""
        self.disconnect()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.recorder = None
        self._begun = _nothing
        self.send_rtp = self._send_rtcp = _send_nothing
        self._assembler = Assembler(_take_nothing, _nothing)
        self._payloads.clear()
        self._by_ssrc.clear()
        self._by_out_ssrc.clear()


def _nothing() -> None:
    """For a closed forwarder."""


def _send_nothing(packet: bytes) -> None:
    """For a closed forwarder."""


def _take_nothing(frame: Frame) -> None:
    """For a closed forwarder."""


_HANDLERS: Final[Mapping[type[Any], Callable[[Forwarder, Any, float], None]]] = {
    RtcpSrPacket: Forwarder._on_sender_report,
    RtcpRrPacket: Forwarder._on_receiver_report,
    RtcpRtpfbPacket: Forwarder._on_transport_feedback,
    RtcpPsfbPacket: Forwarder._on_payload_feedback,
}
