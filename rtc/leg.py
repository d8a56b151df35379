"""One participant's connection: an aiortc `RTCPeerConnection` whose media we take out and put in ourselves.

The connection is told apart from the media: ICE and DTLS are the library's, RTP is ours (`rtc.wire`, `rtc.forwarding`).
Its senders and receivers are never started, so that it has no decoders, no jitter buffers and no threads.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import OperationError
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters

from rtc.forwarding import Forwarder
from rtc.ice import Offer, read_candidate, servers_of
from rtc.media import IceServer, OfferRefused, Side
from rtc.negotiation import codec_of, extension_id, formats_of, payloads_of, preferences
from rtc.outgoing import Codec, Outgoing
from rtc.wire import Addresses, Wire

log = structlog.get_logger()

# STUN and TURN servers that do not answer must not hold up the answer longer.
GATHER_SECONDS: Final = 2
ANSWER_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 5.0
# What one client may tell us one by one; `rtc.ice.CANDIDATES` counts those in the offer.
LATE_CANDIDATES: Final = 40


class Leg:
    """One generation of one side. `began` is called with the first media, `broke` once when the connection ended."""

    def __init__(
        self,
        side: Side,
        generation: int,
        ice_servers: Sequence[IceServer],
        *,
        began: Callable[["Leg"], None],
        broke: Callable[["Leg", str], None],
    ) -> None:
        self.side, self.generation = side, generation
        self._broke: Callable[[Leg, str], None] | None = broke
        # One socket for everything, and the passive side of DTLS: browsers then choose AES-GCM, which costs a third.
        configuration = RTCConfiguration(iceServers=servers_of(ice_servers), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._wire: Wire | None = None
        self._offer: Offer | None = None
        self._late_candidates = 0
        self._is_closed = False
        self.forwarder = Forwarder(self._send_rtp, self._send_rtcp, begun=partial(began, self))
        self.kinds: frozenset[str] = frozenset()
        self.preferred: dict[str, Codec] = {}

    @property
    def wire(self) -> Wire | None:
        """None before the offer was answered."""
        return self._wire

    def _send_rtp(self, packet: bytes) -> None:
        if self._wire is not None:
            self._wire.send_rtp(packet)

    def _send_rtcp(self, packet: bytes) -> None:
        if self._wire is not None:
            self._wire.send_rtcp(packet)

    async def answer(self, offer: Offer, first: Codec | None, addresses: Addresses | None) -> str:
        """The answer's SDP; `first` is the video codec that the other leg uses. Raises `OfferRefused`."""
        self._offer = offer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(offer, first, addresses)
        except OperationError as error:
            raise OfferRefused("no_common_codec") from error
        except TimeoutError as error:
            raise OfferRefused("unreachable") from error
        except OfferRefused:
            raise
        except Exception as error:  # the library's parser raises anything from KeyError to AssertionError
            log.info("rtc.offer_refused", side=self.side, error=type(error).__name__)
            raise OfferRefused("malformed") from error

    async def _answer(self, offer: Offer, first: Codec | None, addresses: Addresses | None) -> str:
        connection = self._connection
        for section in offer.sections:
            transceiver = connection.addTransceiver(section.kind, direction="sendrecv")
            transceiver.setCodecPreferences(preferences(section.kind, first))
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer.sdp, type="offer"))
        dtls = connection.getTransceivers()[0].receiver.transport
        dtls._set_role("server")
        wire = self._wire = Wire(dtls, self.forwarder.rtp, self.forwarder.rtcp)
        wire.gather_at(addresses, GATHER_SECONDS)
        for transceiver in connection.getTransceivers():
            self._take_over(transceiver)
        connection.on("connectionstatechange", self._state_changed)
        await connection.setLocalDescription(await connection.createAnswer())
        wire.hook()
        local = connection.localDescription
        if "a=candidate:" not in local.sdp:
            raise OfferRefused("unreachable")
        self.kinds = frozenset(
            one.kind for one in connection.getTransceivers() if one.currentDirection in ("sendrecv", "recvonly")
        )
        return local.sdp

    def _take_over(self, transceiver: RTCRtpTransceiver) -> None:
        """Ours instead of the library's: what it would call once the connection stands."""
        codecs: Any = transceiver._codecs
        self.preferred[transceiver.kind] = codec_of(codecs[0])
        transceiver.sender.send = partial(self._send, transceiver)  # type: ignore[method-assign]  # the hook itself
        transceiver.receiver.receive = partial(self._receive, transceiver)  # type: ignore[method-assign]  # likewise

    async def _send(self, transceiver: RTCRtpTransceiver, parameters: RTCRtpSendParameters) -> None:
        kind, sender = transceiver.kind, transceiver.sender
        if kind not in self.forwarder.outgoing:
            extension = extension_id(kind, parameters.headerExtensions)
            formats = formats_of(parameters.codecs)
            self.forwarder.send_as(Outgoing(kind, sender._ssrc, sender._rtx_ssrc, formats, extension))

    async def _receive(self, transceiver: RTCRtpTransceiver, parameters: RTCRtpReceiveParameters) -> None:
        payloads = payloads_of(transceiver.kind, parameters.codecs, parameters.headerExtensions)
        self.forwarder.receive_as(transceiver.kind, payloads, transceiver.sender._ssrc)

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state in ("failed", "closed") and self._broke is not None:
            broke, self._broke = self._broke, None
            broke(self, f"connection_{state}")

    async def add_candidates(self, candidates: Sequence[Any]) -> None:
        """Further ways to the client; those beyond the limit are passed over. Raises `OfferRefused`."""
        if self._offer is None or self._is_closed:
            return
        given = [read_candidate(one, self._offer.sections) for one in candidates[:LATE_CANDIDATES]]
        for candidate in given:
            if candidate is not None and self._late_candidates < LATE_CANDIDATES and not self._is_closed:
                self._late_candidates += 1
                await self._connection.addIceCandidate(candidate)

    async def close(self) -> None:
        """End the connection; nothing of it is left. The recorder is the room's to close."""
        if self._is_closed:
            return
        self._is_closed = True
        self._broke = None
        self.forwarder.close()
        if self._wire is not None:
            self._wire.unhook()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close()
        except TimeoutError:  # a TURN server that does not answer; its allocation ends by itself
            log.warning("rtc.leg_not_closed", side=self.side, generation=self.generation)
        for transceiver in self._connection.getTransceivers():
            for owner, name in ((transceiver.sender, "send"), (transceiver.receiver, "receive")):
                owner.__dict__.pop(name, None)
            # The library leaves the connection in the transport's listeners: a cycle that only the collector finds.
            transceiver.receiver.transport.remove_all_listeners()
