"""The pages of this folder, from a place where cameras are allowed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import tornado.httpserver
import tornado.netutil
import tornado.web

HERE: Final = Path(__file__).parent
ASK: Final = {"audio": True, "video": {"width": 640, "height": 480, "frameRate": 20}}
Lines = dict[str, Callable[[str], str]]


class _Through(tornado.web.RequestHandler):
    def initialize(self, lines: Lines) -> None:
        self._lines = lines

    def post(self, name: str) -> None:
        self.write(self._lines[name](self.request.body.decode()))


class Pages:
    """Their origin, and in `lines` what an answer posted to `/through/<name>` becomes."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.lines: Lines = {}


@asynccontextmanager
async def served() -> AsyncIterator[Pages]:
    """A server of the pages."""
    [socket] = tornado.netutil.bind_sockets(0, "127.0.0.1")
    pages = Pages(f"http://127.0.0.1:{socket.getsockname()[1]}")
    routes: Any = [
        (r"/through/(\w+)", _Through, {"lines": pages.lines}),
        (r"/(.*)", tornado.web.StaticFileHandler, {"path": HERE}),
    ]
    server = tornado.httpserver.HTTPServer(tornado.web.Application(routes))
    server.add_socket(socket)
    try:
        yield pages
    finally:
        server.stop()
        await server.close_all_connections()
