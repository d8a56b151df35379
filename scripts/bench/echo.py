"""The baseline: a bare Tornado websocket that answers and forwards frames like the hospital's, and knows nothing.

Same loop, same Tornado and socket options as the hospital. It reads no JSON, stores nothing and asks nobody: of a
message it takes the id, which has a fixed length, answers the sender with a frame as long as an ack, and sends the
two's other one a frame as long as `message.created`. `/ws/{n}` joins the two of a pair, `/ws` stands alone.
"""

import asyncio
import signal
import sys
from typing import Final

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from scripts.bench.client import ID_LENGTH

HELLO: Final = '{"re":"hello","ok":true,"data":{"session":"' + 26 * "0" + '"}}'
_ID: Final = slice(7, 7 + ID_LENGTH)
_ULID: Final = 26 * "0"
_AT: Final = "2026-01-01T00:00:00.000Z"
ACK: Final = (
    '","ok":true,"data":{"conversation":"' + _ULID + '","seq":100,"id":"' + 32 * "0" + f'","at":"{_AT}","dup":false}}}}'
)
# What follows it, from the kind on, is the request's own.
PUSH: Final = (
    f'{{"ev":"message.created","data":{{"conversation":"{_ULID}","seq":100,"id":"{32 * "0"}",'
    f'"from":{{"account":"{_ULID}","role":"patient"}},"at":"{_AT}",'
)


class Echo(WebSocketHandler):
    """One client."""

    room: list["Echo"] | None = None

    def open(self, pair: str | None = None) -> None:
        """Join the other one."""
        self.set_nodelay(True)
        if pair is not None:
            self.room = rooms.setdefault(pair, [])
            self.room.append(self)

    def on_message(self, message: str | bytes) -> None:
        """Answer and forward."""
        assert isinstance(message, str)
        if self.room is None or message.startswith('{"id":"hello"'):
            self.write_message(HELLO)
            return
        self.write_message('{"re":"' + message[_ID] + ACK)
        for other in self.room:
            if other is not self:
                other.write_message(PUSH + message[message.index('"kind"') :])

    def on_close(self) -> None:
        """Leave."""
        if self.room is not None:
            self.room.remove(self)


rooms: Final[dict[str, list[Echo]]] = {}


async def serve() -> None:
    """Until SIGTERM or SIGINT; the first line says the port."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    application = Application(
        [(r"/ws(?:/(\d+))?", Echo)], websocket_max_message_size=64 * 1024, log_function=lambda handler: None
    )
    server = HTTPServer(application, idle_connection_timeout=75, body_timeout=600)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.stop()


if __name__ == "__main__":
    uvloop.run(serve())
    sys.exit(0)
