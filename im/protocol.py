"""How frames come off the wire, where Tornado's own way is too curt for a promise of ours."""

from asyncio import Future
from typing import Final

from tornado.websocket import WebSocketProtocol13

_TEXT: Final = 0x1
_BINARY: Final = 0x2


class ChatProtocol(WebSocketProtocol13):
    """RFC 6455 as Tornado speaks it, but text that is not UTF-8 reaches the handler, as bytes.

    Tornado cuts the connection without a close frame there; to the handler bytes are no frame of the protocol, which
    it tells by a close code.
    """

    def _handle_message(self, opcode: int, data: bytes) -> "Future[None] | None":
        if opcode == _TEXT:
            try:
                data.decode()
            except UnicodeDecodeError:
                opcode = _BINARY
        return super()._handle_message(opcode, data)
