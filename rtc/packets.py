"""RTP packets as bytes: reading a header, writing another one, RTX (RFC 4588) and 16-bit sequence numbers.

Everything here is pure and runs for each packet, so it avoids objects and copies where it can.
"""

import struct
from typing import Final, NamedTuple

HEADER_BYTES: Final = 12
# An IPv6 packet of 1500 bytes holds no more; what is larger is no media of a browser.
PACKET_BYTES: Final = 1500
_ONE_BYTE_PROFILE: Final = 0xBEDE
_read_numbers = struct.Struct("!HLL").unpack_from
_write_header = struct.Struct("!BBHLL").pack
_write_extension = struct.Struct("!HHB").pack
_read_words = struct.Struct("!HH").unpack_from


class Rtp(NamedTuple):
    """What a forwarder has to know of a packet; `extension` is the value of the one header extension asked for."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    extension: bytes | None


def is_rtcp(packet: bytes) -> bool:
    """Whether a datagram on the shared port is RTCP (RFC 5761); it must have two bytes."""
    return 192 <= packet[1] <= 223


def parse(packet: bytes, extension_id: int | None = None) -> Rtp | None:
    """Read one packet of version 2; None for anything that is none."""
    size = len(packet)
    if size < HEADER_BYTES or packet[0] >> 6 != 2:
        return None
    first, second = packet[0], packet[1]
    sequence, timestamp, ssrc = _read_numbers(packet, 2)
    start = HEADER_BYTES + 4 * (first & 0x0F)
    extension = None
    if first & 0x10:
        if start + 4 > size:
            return None
        profile, words = _read_words(packet, start)
        begin = start + 4
        start = begin + 4 * words
        if extension_id and profile == _ONE_BYTE_PROFILE and start <= size:
            extension = _element(packet, begin, start, extension_id)
    end = size - packet[-1] if first & 0x20 else size
    if start > end:
        return None
    return Rtp(second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, packet[start:end], extension)


def _element(packet: bytes, position: int, end: int, wanted: int) -> bytes | None:
    """The value of one element of a one-byte header extension (RFC 8285)."""
    while position < end:
        head = packet[position]
        if head == 0:
            position += 1
            continue
        after = position + 2 + (head & 0x0F)
        if head >> 4 == wanted:
            return packet[position + 1 : after] if after <= end else None
        position = after
    return None


def build(
    payload_type: int,
    marker: bool,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    extension_id: int | None = None,
    extension: bytes | None = None,
) -> bytes:
    """One packet without CSRCs or padding, with at most one header extension of 1 to 16 bytes."""
    second = payload_type | 0x80 if marker else payload_type
    if not extension_id or not extension:
        return _write_header(0x80, second, sequence, timestamp, ssrc) + payload
    length = len(extension)
    words = (length + 4) >> 2
    head = _write_header(0x90, second, sequence, timestamp, ssrc)
    element = _write_extension(_ONE_BYTE_PROFILE, words, extension_id << 4 | length - 1)
    return b"".join((head, element, extension, b"\0" * (4 * words - 1 - length), payload))


def payload_start(packet: bytes) -> int:
    """Where the payload of a packet made by `build` begins."""
    if packet[0] & 0x10:
        return HEADER_BYTES + 4 + 4 * int.from_bytes(packet[HEADER_BYTES + 2 : HEADER_BYTES + 4], "big")
    return HEADER_BYTES


def wrap_rtx(packet: bytes, payload_type: int, sequence: int, ssrc: int) -> bytes:
    """A packet made by `build` as its own retransmission: the original sequence number goes before the payload."""
    start = payload_start(packet)
    head = bytes((packet[0], packet[1] & 0x80 | payload_type)) + sequence.to_bytes(2, "big")
    return b"".join(
        (head, packet[4:8], ssrc.to_bytes(4, "big"), packet[HEADER_BYTES:start], packet[2:4], packet[start:])
    )


def unwrap_rtx(rtx: Rtp, payload_type: int, ssrc: int) -> Rtp | None:
    """The packet inside a retransmission; None for padding, with which browsers probe the bandwidth."""
    if len(rtx.payload) <= 2:
        return None
    sequence = int.from_bytes(rtx.payload[:2], "big")
    return rtx._replace(payload_type=payload_type, sequence=sequence, ssrc=ssrc, payload=rtx.payload[2:])


def ahead(sequence: int, of: int) -> int:
    """How many packets `sequence` is ahead of another, negative when it is older: -32768 to 32767."""
    return ((sequence - of + 0x8000) & 0xFFFF) - 0x8000


def ticks_ahead(timestamp: int, of: int) -> int:
    """The same for 32-bit timestamps."""
    return ((timestamp - of + 0x80000000) & 0xFFFFFFFF) - 0x80000000
