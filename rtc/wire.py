"""Datagrams of one leg between aiortc's sockets and us, past its queues and parsers: where the processor time is saved.

Only single objects are hooked, never a class; `rtc.guard` lists what is relied upon.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import pylibsrtp
from aiortc import RTCDtlsTransport

from rtc.packets import HEADER_BYTES, PACKET_BYTES, is_rtcp

# Two seconds of 1 Mbit/s: what waits longer in a socket's buffer is of no use to a conversation.
WRITE_BUFFER_BYTES: Final = 256 * 1024
# DTLS flights waiting for the handshake; the library's queue has no bound of its own.
QUEUED_DATAGRAMS: Final = 64
# asyncio would else take 256 KiB from the heap for every datagram it reads.
_READ_BYTES: Final = 2048
_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_DTLS: Final = range(20, 64)
_SRTP: Final = range(128, 192)
Addresses = Sequence[str]


class Wire:
    """The encrypted path of one leg. `rtp` and `rtcp` get decrypted packets; nothing is raised for bad ones."""

    def __init__(self, dtls: RTCDtlsTransport, rtp: Callable[[bytes], None], rtcp: Callable[[bytes], None]) -> None:
        self._dtls, self._rtp, self._rtcp = dtls, rtp, rtcp
        self._ice: Any = dtls.transport._connection
        self._hooked: list[Any] = []
        self.received = self.sent = 0
        self.refused = 0  # datagrams that nobody with our keys sent, or that have no business here
        self.dropped = 0  # packets not sent because the socket did not take them

    def gather_at(self, addresses: Addresses | None, seconds: int) -> None:
        """Gather candidates at these addresses only (None: at all of the machine but loopback), within `seconds`."""
        gather = self._ice.get_component_candidates

        async def gather_here(component: int, addresses_found: Addresses, timeout: int = 5) -> Any:  # noqa: ASYNC109 -- aioice's name
            chosen = list(addresses_found if addresses is None else addresses)
            return await gather(component=component, addresses=chosen, timeout=min(timeout, seconds))

        self._ice.get_component_candidates = lambda component, addresses, timeout=5: gather_here(
            component, addresses, timeout
        )

    def hook(self) -> None:
        """Take over the sockets; to be called when candidates have been gathered."""
        for protocol in self._ice._protocols:
            protocol.datagram_received = partial(self._received, protocol.datagram_received)
            self._hooked.append(protocol)
            if hasattr(protocol.transport, "max_size"):
                protocol.transport.max_size = _READ_BYTES

    def unhook(self) -> None:
        """Leave the sockets to the library, which closes them."""
        for protocol in self._hooked:
            protocol.__dict__.pop("datagram_received", None)
        self._hooked.clear()
        self._ice.__dict__.pop("get_component_candidates", None)
        self._rtp = self._rtcp = _ignore

    def _received(self, original: Callable[[bytes, Any], None], data: bytes, address: Any) -> None:
        if not data:
            return
        first = data[0]
        if first in _SRTP:
            self._decrypt(data)
        elif data[4:8] == _STUN_COOKIE or (first in _DTLS and self._ice._queue.qsize() < QUEUED_DATAGRAMS):
            try:
                original(data, address)
            except Exception:
                self.refused += 1
        else:
            self.refused += 1

    def _decrypt(self, data: bytes) -> None:
        session = self._dtls._rx_srtp
        if session is None or not HEADER_BYTES <= len(data) <= PACKET_BYTES:
            self.refused += 1
            return
        try:
            if is_rtcp(data):
                self._rtcp(session.unprotect_rtcp(data))
            else:
                self._rtp(session.unprotect(data))
            self.received += 1
        except pylibsrtp.Error:
            self.refused += 1

    def send_rtp(self, packet: bytes) -> None:
        """Encrypt and send; dropped when there is no way or the way is full."""
        self._send(packet, rtcp=False)

    def send_rtcp(self, packet: bytes) -> None:
        """The same for RTCP."""
        self._send(packet, rtcp=True)

    def _send(self, packet: bytes, *, rtcp: bool) -> None:
        pair = self._ice._nominated.get(1)  # looked up anew: it changes with the path
        session = self._dtls._tx_srtp
        if pair is None or session is None:
            return
        transport = pair.protocol.transport
        if _waiting_bytes(transport) > WRITE_BUFFER_BYTES:
            self.dropped += 1
            return
        try:
            data = session.protect_rtcp(packet) if rtcp else session.protect(packet)
        except pylibsrtp.Error:
            self.dropped += 1
            return
        transport.sendto(data, pair.remote_addr)
        self.sent += 1

    @property
    def cipher(self) -> str:
        """The SRTP profile that was agreed upon; empty before the handshake."""
        ssl = self._dtls._ssl
        return ssl.get_selected_srtp_profile().decode() if ssl is not None else ""


def _waiting_bytes(transport: Any) -> int:
    """Of a socket; a TURN allocation has no buffer to ask for."""
    size: Callable[[], int] | None = getattr(transport, "get_write_buffer_size", None)
    return size() if size is not None else 0


def _ignore(packet: bytes) -> None:
    """For what still comes when a leg is closed."""
