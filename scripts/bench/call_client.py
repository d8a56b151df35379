"""Both ends of a load's calls: `python -m scripts.bench.call_client`, its plan as one JSON object on standard input.

ICE and DTLS are aiortc's; the media is encoded beforehand and only numbered, encrypted and counted here, so that a
client costs less than what it measures. It prints one object: all packets sent and received.
"""

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import av
import uvloop
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
    clock,
)
from aiortc.codecs import get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtp import RtcpSenderInfo

from rtc import feedback
from rtc.media import Side
from rtc.negotiation import preferences
from rtc.packets import build
from rtc.wire import Wire
from scripts.bench.call_server import HOST, at_loopback

CONNECTING_SECONDS: Final = 60.0
# What is under way when counting ends is waited for.
DRAIN_SECONDS: Final = 0.7
_PACE_SECONDS: Final = 0.004
_CODECS: Final = {
    "audio": RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48_000, channels=2, payloadType=96),
    "video": RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97),
}
_LINE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """Calls with these names at the server of that port, sending the clip in that file."""

    port: int
    clip: str
    calls: list[str] = field(default_factory=list)
    warm_seconds: float = 3.0
    seconds: float = 8.0

    def to_json(self) -> str:
        """As standard input takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The reverse of `to_json`."""
        return cls(**json.loads(text))


@dataclass
class Stream:
    """One kind of media: its packets' payloads frame by frame, and how far it has got."""

    frames: Sequence[Sequence[bytes]]
    period: float
    ticks: int
    payload_type: int = 0
    ssrc: int = 0
    sequence: int = 0
    sent_frames: int = 0
    packets: int = 0


def frames_of(clip: Path) -> dict[str, list[list[bytes]]]:
    """The clip's frames, in packets."""
    video = get_encoder(_CODECS["video"])
    found: dict[str, list[list[bytes]]] = {"audio": [], "video": []}
    with av.open(str(clip)) as file:
        for packet in file.demux():
            if packet.size:
                kind = packet.stream.type
                found[kind].append([bytes(packet)] if kind == "audio" else video.pack(packet)[0])
    return found


class Caller:
    """One end of one call."""

    def __init__(self, frames: dict[str, list[list[bytes]]]) -> None:
        self.streams = {
            "audio": Stream(frames["audio"], 1 / 50, 960),
            "video": Stream(frames["video"], 1 / 30, 3000),
        }
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._ready = {kind: asyncio.Event() for kind in self.streams}
        self._shift = random.random() / 30  # noqa: S311 -- so that not all send at once
        self._wire: Wire
        self.sent = self.received = 0

    async def connect(self, call: str, side: Side, door: "Door") -> None:
        """Until media may be sent."""
        for kind in self.streams:
            transceiver = self._connection.addTransceiver(kind, direction="sendrecv")
            transceiver.setCodecPreferences(preferences(kind))
            transceiver.sender.send = partial(self._send, transceiver)  # type: ignore[method-assign]
            transceiver.receiver.receive = _not_received  # type: ignore[method-assign]
        at_loopback(self._connection)
        await self._connection.setLocalDescription(await self._connection.createOffer())
        dtls = self._connection.getTransceivers()[0].receiver.transport
        self._wire = Wire(dtls, self._count, _not_read)
        self._wire.hook()
        answer = await door.ask(op="offer", call=call, side=side, sdp=self._connection.localDescription.sdp)
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        for ready in self._ready.values():
            await asyncio.wait_for(ready.wait(), CONNECTING_SECONDS)

    async def _send(self, transceiver: RTCRtpTransceiver, parameters: RTCRtpSendParameters) -> None:
        stream = self.streams[transceiver.kind]
        stream.payload_type = cast(int, parameters.codecs[0].payloadType)
        stream.ssrc = transceiver.sender._ssrc
        self._ready[transceiver.kind].set()

    def _count(self, packet: bytes) -> None:
        self.received += 1

    def send_due(self, gone: float) -> None:
        """Everything that belongs before `gone` seconds."""
        for stream in self.streams.values():
            while stream.sent_frames * stream.period + self._shift <= gone:
                self._send_frame(stream)

    def _send_frame(self, stream: Stream) -> None:
        parts = stream.frames[stream.sent_frames % len(stream.frames)]
        for place, payload in enumerate(parts):
            timestamp = stream.sent_frames * stream.ticks
            marker = place == len(parts) - 1
            self._wire.send_rtp(build(stream.payload_type, marker, stream.sequence, timestamp, stream.ssrc, payload))
            stream.sequence = stream.sequence + 1 & 0xFFFF
        stream.sent_frames += 1
        stream.packets += len(parts)
        self.sent += len(parts)

    def report(self) -> None:
        """Sender reports, as browsers send them every second."""
        now = clock.current_ntp_time()
        for stream in self.streams.values():
            info = RtcpSenderInfo(now, stream.sent_frames * stream.ticks & 0xFFFFFFFF, stream.packets, 0)
            self._wire.send_rtcp(feedback.sender_report(stream.ssrc, info))

    async def close(self) -> None:
        """Hang up."""
        self._wire.unhook()
        await self._connection.close()


async def _not_received(parameters: Any) -> None:
    """What comes is only counted."""


def _not_read(packet: bytes) -> None:
    """A client that keeps no packets cannot send any again."""


class Door:
    """The way to the server's answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Door":
        """Connect."""
        return cls(*await asyncio.open_connection(HOST, port, limit=_LINE_BYTES))

    async def ask(self, **asked: Any) -> Any:
        """One question and its answer."""
        self._writer.write(json.dumps(asked).encode() + b"\n")
        return json.loads(await self._reader.readline())

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def drive(callers: Sequence[Caller], until: float, began: float) -> None:
    """Send at the clip's pace until that moment."""
    reported = began
    while (now := time.perf_counter()) < until:
        for caller in callers:
            caller.send_due(now - began)
        if now - reported >= 1:
            reported = now
            for caller in callers:
                caller.report()
        await asyncio.sleep(_PACE_SECONDS)


async def run(plan: Plan, say: Any = print) -> dict[str, int]:
    """Carry the plan out; says `counting` when the window begins and `counted` when it ends."""
    frames = frames_of(Path(plan.clip))
    door = await Door.open(plan.port)
    callers = [Caller(frames) for _ in range(2 * len(plan.calls))]
    sides: tuple[Side, Side] = ("doctor", "patient")
    for place, caller in enumerate(callers):
        await caller.connect(plan.calls[place // 2], sides[place % 2], door)
    began = time.perf_counter()
    await drive(callers, began + plan.warm_seconds, began)
    say("counting")
    await drive(callers, began + plan.warm_seconds + plan.seconds, began)
    say("counted")
    await asyncio.sleep(DRAIN_SECONDS)
    sent, received = sum(one.sent for one in callers), sum(one.received for one in callers)
    await asyncio.gather(*(caller.close() for caller in callers))
    door.close()
    return {"sent": sent, "received": received}


if __name__ == "__main__":
    random.seed(secrets.randbits(32))
    print(json.dumps(uvloop.run(run(Plan.from_json(sys.stdin.read()), partial(print, flush=True)))))
