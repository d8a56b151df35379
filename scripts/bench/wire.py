"""A websocket client that costs little: load clients must not be what is measured.

Unmasked frames in, whole text frames out. The mask's key is zero, which leaves the text as it is and costs the server
what any key costs it: no proxy stands between that RFC 6455 section 5.3 would protect.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_MASKED: Final = 0x80
_FINAL: Final = 0x80
_NO_MASK: Final = bytes(4)


class Wire(asyncio.Protocol):
    """One connection: `opened` is done after the upgrade, `closed` with the close code or None; see `reason`, too."""

    __slots__ = ("_buffer", "_head", "_on_text", "_transport", "closed", "opened", "reason")

    def __init__(self, host: str, path: str, on_text: Callable[[bytes], None]) -> None:
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._on_text = on_text
        self._buffer = b""
        self.reason = ""
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int | None] = loop.create_future()

    @classmethod
    async def open(cls, host: str, port: int, path: str, on_text: Callable[[bytes], None]) -> "Wire":
        """Connected and upgraded; ConnectionError otherwise."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: cls(f"{host}:{port}", path, on_text), host, port)
        await wire.opened
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Whole frames are handed on, the rest waits."""
        data = self._buffer + data if self._buffer else data
        if not self.opened.done():
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._end(None, ConnectionError(f"no upgrade: {data[:40]!r}"))
                return
            self.opened.set_result(None)
            data = data[end + 4 :]
        self._buffer = self._frames(data)

    def _frames(self, data: bytes) -> bytes:
        at = 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start], "big") if len(data) >= start else 0
            elif size == 127:
                start += 8
                size = int.from_bytes(data[at + 2 : start], "big") if len(data) >= start else 0
            if len(data) < start + size:
                break
            self._frame(data[at] & 0x0F, data[start : start + size])
            at = start + size
        return data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._on_text(payload)
        elif opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE:
            self.reason = payload[2:].decode(errors="replace")
            self._end(int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None)

    def send(self, text: bytes) -> None:
        """One text frame."""
        self._write(_TEXT, text)

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(masked(opcode, payload))

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits is told."""
        self._end(None, error)

    def _end(self, code: int | None, error: Exception | None = None) -> None:
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("closed before the upgrade"))
        if not self.closed.done():
            self.closed.set_result(code)
        self.drop()

    def drop(self) -> None:
        """Hang up without a farewell."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def masked(opcode: int, payload: bytes) -> bytes:
    """A whole frame as a client sends it (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", _FINAL | opcode, _MASKED | size)
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", _FINAL | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FINAL | opcode, _MASKED | 127, size)
    return head + _NO_MASK + payload
