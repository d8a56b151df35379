"""Browsers for the tests: plain aiortc connections, nothing hooked, that send clips and decode what they get."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, Final

import aioice.ice
import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from core import tasks
from rtc.frames import is_key_frame
from tests.rtc.clips import FRAMES_A_SECOND, pictures, sounds

LOOPBACK: Final = ("127.0.0.1",)
_PERIODS: Final = {"audio": Fraction(1, 50), "video": Fraction(1, FRAMES_A_SECOND)}
Answer = Callable[[str], Awaitable[str]]


class Clip(MediaStreamTrack):
    """Encoded packets at their time, over and over; aiortc sends packets without encoding them."""

    def __init__(self, kind: str, codec: str = "vp8") -> None:
        super().__init__()
        self.kind = kind
        self._packets = itertools.cycle(sounds() if kind == "audio" else pictures(codec))
        self._codec = codec
        self._count = 0
        self._began: float | None = None
        self.is_off = False

    async def recv(self) -> av.Packet:
        period = _PERIODS[self.kind]
        while True:
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            await asyncio.sleep(max(0.0, self._began + float(self._count * period) - now))
            self._count += 1
            packet = av.Packet(next(self._packets))
            if not self.is_off:
                break
        packet.pts = packet.dts = self._count
        packet.time_base = period
        packet.is_keyframe = self.kind == "audio" or is_key_frame(self._codec, bytes(packet))
        return packet


class Peer:
    """One participant. `got` counts decoded frames by kind."""

    def __init__(self, *, codec: str = "vp8", kinds: tuple[str, ...] = ("audio", "video")) -> None:
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self.connection = RTCPeerConnection(configuration)
        self.clips = {kind: Clip(kind, codec) for kind in kinds}
        self.got: Counter[str] = Counter()
        self._readers: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()
        for kind, clip in self.clips.items():
            transceiver = self.connection.addTransceiver(clip, direction="sendrecv")
            if kind == "video":
                wanted = [
                    one for one in RTCRtpSender.getCapabilities(kind).codecs if one.name.lower() in (codec, "rtx")
                ]
                transceiver.setCodecPreferences(wanted)
        self.connection.on("track", lambda track: self._readers.append(tasks.spawn("peer.read", self._read(track))))

    async def _read(self, track: Any) -> None:
        while True:
            try:
                await track.recv()
            except MediaStreamError:
                return
            self.got[track.kind] += 1
            self._arrived.set()

    async def offer(self) -> str:
        """An offer with all its candidates."""
        at_loopback(self.connection)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def join(self, answer: Answer) -> None:
        """Offer and accept."""
        await self.accept(await answer(await self.offer()))

    async def gets(self, seconds: float = 20.0, **frames: int) -> None:
        """Until so many more frames of these kinds were decoded."""
        wanted = {kind: self.got[kind] + count for kind, count in frames.items()}
        async with asyncio.timeout(seconds):
            while any(self.got[kind] < count for kind, count in wanted.items()):
                self._arrived.clear()
                await self._arrived.wait()

    async def close(self) -> None:
        await self.connection.close()
        for reader in self._readers:
            await tasks.stop(reader)

    async def vanish(self) -> None:
        """The telephone is switched off: nothing more is sent, not even a goodbye."""
        for protocol in self.ice._protocols:
            protocol.transport.abort()

    @property
    def ice(self) -> aioice.ice.Connection:
        return self.connection.getTransceivers()[0].receiver.transport.transport._connection


def at_loopback(connection: RTCPeerConnection) -> None:
    """Gather at the loopback interface, which aioice leaves out."""
    ice = connection.getTransceivers()[0].receiver.transport.transport._connection
    gather = type(ice).get_component_candidates
    ice.get_component_candidates = lambda component, addresses, timeout=5: gather(ice, component, LOOPBACK, timeout)


def without_candidates(sdp: str) -> str:
    """A description whose other side is reached another way."""
    return re.sub(r"a=(candidate:[^\r\n]*|end-of-candidates)\r\n", "", sdp)
