import asyncio

import pytest
import tornado.httpserver
import tornado.testing
import tornado.web
import tornado.websocket

from scripts.bench.wire import Wire, masked

pytestmark = pytest.mark.gen_test


class Mirror(tornado.websocket.WebSocketHandler):
    """Says everything back, and closes when told to."""

    def on_message(self, message):
        if message == "close":
            self.close(4008, "told to")
        elif message == "ping":
            self.ping(b"are you there")
        else:
            self.write_message(message)

    def on_pong(self, data):
        self.write_message(f"pong {data.decode()}")


@pytest.fixture
def port(io_loop):
    async def listen():
        server = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/ws", Mirror)]))
        socket, port = tornado.testing.bind_unused_port()
        server.add_socket(socket)
        return server, port

    server, port = io_loop.run_sync(listen)
    yield port
    server.stop()
    io_loop.run_sync(server.close_all_connections)


async def opened(port) -> tuple[Wire, "asyncio.Queue[bytes]"]:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    return await Wire.open("127.0.0.1", port, "/ws", heard.put_nowait), heard


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
async def test_frames_of_every_length_come_back(port, size):
    wire, heard = await opened(port)
    text = ("好" * size).encode()[: size // 3 * 3] if size > 2 else b""
    wire.send(text)
    assert await asyncio.wait_for(heard.get(), 5) == text
    wire.drop()


async def test_frames_cut_in_pieces_are_put_together(io_loop):
    heard: list[bytes] = []
    wire = Wire("h", "/ws", heard.append)
    said = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81\x02ok" + b"\x81\x7e\x00\x80" + b"x" * 128 + b"\x81\x01!"
    for at in range(len(said)):
        wire.data_received(said[at : at + 1])
    assert wire.opened.done()
    assert heard == [b"ok", b"x" * 128, b"!"]


async def test_a_ping_is_answered(port):
    wire, heard = await opened(port)
    wire.send(b"ping")
    assert await asyncio.wait_for(heard.get(), 5) == b"pong are you there"
    wire.drop()


async def test_the_close_code_and_its_reason_are_told(port):
    wire, _ = await opened(port)
    wire.send(b"close")
    assert (await asyncio.wait_for(wire.closed, 5), wire.reason) == (4008, "told to")


async def test_a_server_that_does_not_upgrade_is_refused(port):
    with pytest.raises(ConnectionError, match="no upgrade"):
        await Wire.open("127.0.0.1", port, "/elsewhere", lambda text: None)


def test_the_mask_leaves_the_text_as_it_is():
    assert masked(1, b"hello") == b"\x81\x85\x00\x00\x00\x00hello"
    assert masked(1, b"x" * 200)[:8] == b"\x81\xfe\x00\xc8\x00\x00\x00\x00"
