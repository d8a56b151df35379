"""A simulator whose clock can be set, served in this process on a free port."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application

from tests.clock import SettableClock


@dataclass
class Served:
    """Where it answers, its keys and its clock."""

    url: str
    keys: dict[str, Any]
    clock: SettableClock

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any call, by a client of its own."""
        async with httpx.AsyncClient(base_url=self.url, timeout=5, verify=False) as http:
            return await http.request(method, path, **options)

    async def control(self, path: str, **body: Any) -> Any:
        """Drive it; answers the JSON, None when there is none."""
        answer = await self.request("POST", f"/_control/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@contextmanager
def serve(make_app: Callable[..., Application], folder: Path, io_loop: IOLoop) -> Iterator[Served]:
    """Up inside the block. A second one over the same folder is the same simulator after a restart."""
    clock = SettableClock()
    application = make_app(folder / "state", folder / "keys", now=lambda: clock.now().timestamp())
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(application)
    server.add_sockets(sockets)
    try:
        yield Served(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", application.settings["keys"], clock)
    finally:
        server.stop()
        io_loop.run_sync(server.close_all_connections)
        io_loop.run_sync(application.settings["stop"])
