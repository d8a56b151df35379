"""From packets of a video stream to whole encoded frames, in order, without decoding: VP8 (RFC 7741), H264 (RFC 6184).

A frame that lacks a packet is waited for as long as its retransmission may take; then it is given up with everything up
to the next key frame, because a decoder would show rubbish.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from rtc.packets import Rtp, ahead

# As long as a missing packet is asked for (`rtc.incoming`), and more packets than a large key frame has.
WAIT_SECONDS: Final = 1.0
WAIT_PACKETS: Final = 400
FRAME_BYTES: Final = 4 * 1024 * 1024
_START_CODE: Final = b"\0\0\0\1"
_NOMINAL_SIZE: Final = (640, 480)


class Frame(NamedTuple):
    """An encoded frame; `codec` is `vp8` or `h264` (Annex B)."""

    codec: str
    data: bytes
    timestamp: int
    is_key: bool


class Piece(NamedTuple):
    """One packet's part of a frame."""

    data: bytes
    begins: bool


def vp8_piece(payload: bytes) -> Piece | None:
    """Without the payload descriptor; None when it is cut short."""
    if not payload:
        return None
    first, position = payload[0], 1
    if first & 0x80:
        if len(payload) < 2:
            return None
        extended, position = payload[1], 2
        if extended & 0x80:
            if len(payload) < 3:
                return None
            position += 2 if payload[2] & 0x80 else 1
        position += bool(extended & 0x40) + bool(extended & 0x30)
    if len(payload) <= position:
        return None
    return Piece(payload[position:], first & 0x1F == 0x10)


def h264_piece(payload: bytes) -> Piece | None:
    """As Annex B; None for what is cut short and for packetizations that browsers do not use."""
    if len(payload) < 2:
        return None
    kind = payload[0] & 0x1F
    if 1 <= kind <= 23:
        return Piece(_START_CODE + payload, True)
    if kind == 24:
        return _aggregated(payload)
    if kind == 28 and len(payload) > 2:
        if payload[1] & 0x80:
            return Piece(_START_CODE + bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)) + payload[2:], True)
        return Piece(payload[2:], False)
    return None


def _aggregated(payload: bytes) -> Piece | None:
    """STAP-A: several small units in one packet."""
    units, position = [], 1
    while position + 2 <= len(payload):
        size = int.from_bytes(payload[position : position + 2], "big")
        position += 2
        if not size or position + size > len(payload):
            return None
        units.append(_START_CODE + payload[position : position + size])
        position += size
    return Piece(b"".join(units), True) if units else None


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether a decoder can begin with the frame."""
    if codec == "vp8":
        return bool(data) and not data[0] & 1
    return any(unit[0] & 0x1F in (5, 7) for unit in _units(data) if unit)


def _units(data: bytes) -> list[bytes]:
    """The units of Annex B at a frame's beginning, where parameter sets stand."""
    return data[:512].split(_START_CODE)[1:]


def picture_size(codec: str, data: bytes) -> tuple[int, int]:
    """Width and height in a key frame's header; a nominal size when it cannot be read. Decoders do not depend on it."""
    try:
        if codec == "vp8":
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        else:
            width, height = _h264_size(next(unit for unit in _units(data) if unit and unit[0] & 0x1F == 7))
    except (IndexError, StopIteration):
        return _NOMINAL_SIZE
    return (width, height) if 0 < width <= 8192 and 0 < height <= 8192 else _NOMINAL_SIZE


class _Bits:
    """Exp-Golomb numbers of a parameter set (H.264, 9.1); IndexError at its end."""

    def __init__(self, unit: bytes) -> None:
        self._bytes = unit.replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def bit(self) -> int:
        value = self._bytes[self._at >> 3] >> (7 - (self._at & 7)) & 1
        self._at += 1
        return value

    def number(self) -> int:
        zeros = 0
        while not self.bit():
            zeros += 1
        value = 1
        for _ in range(zeros):
            value = value << 1 | self.bit()
        return value - 1


def _h264_size(unit: bytes) -> tuple[int, int]:
    """Of a sequence parameter set (H.264, 7.3.2.1.1) without scaling lists, which real-time profiles do not have."""
    profile, bits = unit[1], _Bits(unit[4:])
    bits.number()  # the set's id
    if profile in (100, 110, 122, 244):
        if bits.number() == 3:
            bits.bit()
        bits.number(), bits.number(), bits.bit()
        if bits.bit():
            return _NOMINAL_SIZE
    bits.number()
    order = bits.number()
    if order == 0:
        bits.number()
    elif order == 1:
        bits.bit(), bits.number(), bits.number()
        for _ in range(bits.number()):
            bits.number()
    bits.number(), bits.bit()
    width, height = 16 * (bits.number() + 1), 16 * (bits.number() + 1)
    progressive = bits.bit()
    if not progressive:
        height *= 2
        bits.bit()
    bits.bit()
    if bits.bit():
        left, right, top, bottom = (bits.number() for _ in range(4))
        width -= 2 * (left + right)
        height -= 2 * (top + bottom) * (2 - progressive)
    return width, height


_PIECE_OF: Final[dict[str, Callable[[bytes], Piece | None]]] = {"vp8": vp8_piece, "h264": h264_piece}


class Assembler:
    """Puts the frames of one video stream together. `emit` gets each, `broke` is called when some are given up."""

    def __init__(self, emit: Callable[[Frame], None], broke: Callable[[], None]) -> None:
        self._emit, self._broke = emit, broke
        self._source: int | None = None
        self._next = 0
        self._waiting: dict[int, tuple[Rtp, str]] = {}
        self._waiting_since: float | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._timestamp: int | None = None
        self._codec = ""
        self._is_whole = False
        self._needs_key = True

    def put(self, packet: Rtp, codec: str, now: float) -> None:
        """One packet, in whatever order they come; `now` in seconds."""
        if packet.ssrc != self._source:
            self._source, self._next = packet.ssrc, packet.sequence
            self._waiting.clear()
            self._waiting_since = None
            self._start_over()
        step = ahead(packet.sequence, self._next)
        if step < 0:
            return
        if step == 0:
            self._advance(packet, codec)
        else:
            self._waiting[packet.sequence] = (packet, codec)
        if self._waiting:
            self._wait(now)
        else:
            self._waiting_since = None

    def _advance(self, packet: Rtp, codec: str) -> None:
        self._add(packet, codec)
        self._next = self._next + 1 & 0xFFFF
        while self._waiting and (after := self._waiting.pop(self._next, None)) is not None:
            self._add(*after)
            self._next = self._next + 1 & 0xFFFF
            self._waiting_since = None

    def _wait(self, now: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since <= WAIT_SECONDS and len(self._waiting) <= WAIT_PACKETS:
            return
        self._start_over()
        self._next = min(self._waiting, key=lambda sequence: ahead(sequence, self._next))
        self._waiting_since = None
        self._broke()
        self._advance(*self._waiting.pop(self._next))

    def _add(self, packet: Rtp, codec: str) -> None:
        if not packet.payload:  # padding has a sequence number, too
            return
        if self._pieces and packet.timestamp != self._timestamp:
            self._finish()  # the marker was on a packet without payload
        piece = _PIECE_OF[codec](packet.payload)
        if piece is None:
            self._is_whole = False
        else:
            if not self._pieces:
                self._timestamp, self._codec, self._is_whole = packet.timestamp, codec, piece.begins
            self._pieces.append(piece.data)
            self._size += len(piece.data)
            self._is_whole = self._is_whole and self._size <= FRAME_BYTES
        if packet.marker:
            self._finish()

    def _finish(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if not pieces or self._timestamp is None:
            return
        if not self._is_whole:
            if not self._needs_key:
                self._needs_key = True
                self._broke()
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        is_key = is_key_frame(self._codec, data)
        if self._needs_key and not is_key:
            self._broke()
            return
        self._needs_key = False
        self._emit(Frame(self._codec, data, self._timestamp, is_key))
