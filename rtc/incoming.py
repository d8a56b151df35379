"""One stream that a leg sends us: its statistics (RFC 3550, A.8), what is missing of it, and when to ask for what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiortc.rtp import RtcpReceiverInfo, clamp_packets_lost

from rtc.packets import Rtp, ahead, ticks_ahead

# A key frame costs some thirty times an ordinary one.
KEY_FRAME_SECONDS: Final = 0.5
# A retransmission takes a round trip; within so many tries it has come or is of no use any more.
RETRY_SECONDS: Final = 0.05
RETRIES: Final = 10
GIVE_UP_SECONDS: Final = 1.0
# A longer gap is no loss but a break: the next key frame helps more than hundreds of old packets.
LONGEST_GAP: Final = 500


@dataclass
class _Missing:
    since: float
    asked: float = -1.0
    times: int = 0


class Incoming:
    """One SSRC and its retransmissions. Times are seconds of any steady clock."""

    def __init__(self, kind: str, ssrc: int, clock_rates: Mapping[int, int]) -> None:
        self.kind, self.ssrc = kind, ssrc
        self._rates = clock_rates
        self.highest: int | None = None
        self._cycles = self._first = 0
        self.received = 0
        self.octets = 0
        self.jitter_ticks = 0.0
        self.rate = 90_000
        self._transit: tuple[float, int] | None = None
        self._expected_before = self._received_before = 0
        self._counted = (0, 0, 0)
        self._missing: dict[int, _Missing] = {}
        self._asked_key_frame = -KEY_FRAME_SECONDS
        self._last_report: tuple[int, float] | None = None

    def take(self, packet: Rtp, now: float) -> bool:
        """Count an original packet; True when it shows that others before it are missing."""
        self.received += 1
        self.octets += len(packet.payload)
        sequence = packet.sequence
        if self.highest is None:
            self.highest = self._first = sequence
            self._measure(packet, now)
            return False
        step = ahead(sequence, self.highest)
        if step <= 0:
            self._missing.pop(sequence, None)
            return False
        if sequence < self.highest:
            self._cycles += 1 << 16
        before, self.highest = self.highest, sequence
        self._measure(packet, now)
        return step > 1 and self._note_gap(before, step, now)

    def _note_gap(self, before: int, step: int, now: float) -> bool:
        if self.kind != "video":  # Opus conceals what is lost; a retransmission comes too late to be heard
            return False
        if step > LONGEST_GAP or len(self._missing) > LONGEST_GAP:
            self._missing.clear()
            return False
        for lost in range(before + 1, before + step):
            self._missing[lost & 0xFFFF] = _Missing(now)
        return True

    def _measure(self, packet: Rtp, now: float) -> None:
        timestamp = packet.timestamp
        if self._transit is not None:
            at, last = self._transit
            if timestamp == last:
                return
            self.rate = self._rates.get(packet.payload_type, self.rate)
            late = abs((now - at) * self.rate - ticks_ahead(timestamp, last))
            self.jitter_ticks += (late - self.jitter_ticks) / 16
        self._transit = (now, timestamp)

    def recover(self, sequence: int) -> bool:
        """A retransmission came: whether it was still wanted."""
        if self._missing.pop(sequence, None) is None:
            return False
        self.received += 1
        return True

    @property
    def is_missing_packets(self) -> bool:
        """Whether there is anything to ask for."""
        return bool(self._missing)

    def to_ask_for(self, now: float) -> list[int]:
        """Sequence numbers to put into a NACK now; those asked for in vain are given up."""
        wanted = []
        for sequence, missing in list(self._missing.items()):
            if now - missing.since > GIVE_UP_SECONDS or missing.times >= RETRIES:
                del self._missing[sequence]
            elif now - missing.asked >= RETRY_SECONDS * 0.8:  # timers may be a little early
                missing.asked = now
                missing.times += 1
                wanted.append(sequence)
        return sorted(wanted)

    def may_ask_key_frame(self, now: float) -> bool:
        """Whether a PLI may be sent now; if so it counts as sent."""
        if now - self._asked_key_frame < KEY_FRAME_SECONDS:
            return False
        self._asked_key_frame = now
        return True

    def sender_reported(self, ntp: int, now: float) -> None:
        """Its sender report came; receiver reports refer to it, so that the sender can tell the round trip."""
        self._last_report = (ntp >> 16 & 0xFFFFFFFF, now)

    @property
    def expected(self) -> int:
        """Packets that were sent as far as we know."""
        return 0 if self.highest is None else self._cycles + self.highest - self._first + 1

    def counted(self) -> tuple[int, int, int]:
        """Packets expected, packets received and payload octets since the last time this was asked."""
        before = self._counted
        self._counted = (self.expected, self.received, self.octets)
        return (self.expected - before[0], self.received - before[1], self.octets - before[2])

    @property
    def jitter(self) -> float:
        """Seconds."""
        return self.jitter_ticks / self.rate

    def report(self, now: float) -> RtcpReceiverInfo | None:
        """The block of a receiver report for the time since the last one; None before the first packet."""
        if self.highest is None:
            return None
        expected, received = self.expected - self._expected_before, self.received - self._received_before
        self._expected_before, self._received_before = self.expected, self.received
        lost = max(0, expected - received)
        lsr, at = self._last_report or (0, now)
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=min(255, (lost << 8) // expected) if expected > 0 else 0,
            packets_lost=clamp_packets_lost(self.expected - self.received),
            highest_sequence=(self._cycles + self.highest) & 0xFFFFFFFF,
            jitter=int(self.jitter_ticks) & 0xFFFFFFFF,
            lsr=lsr,
            dlsr=int((now - at) * 65536) & 0xFFFFFFFF if lsr else 0,
        )
