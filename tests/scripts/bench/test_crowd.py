import asyncio
import json
import random
from contextlib import asynccontextmanager

import pytest
import tornado.web
import tornado.websocket
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core import tasks
from scripts.bench.client import Seat
from scripts.bench.crowd import Crowd, Guests

pytestmark = pytest.mark.gen_test(timeout=30)
SEATS = [Seat("/ws", f"t{number}", f"d{number}") for number in range(5)]


class Door(tornado.websocket.WebSocketHandler):
    """Lets in, or sheds the first that come, as the test has set it."""

    def open(self, *args: str, **kwargs: str) -> None:
        state = self.application.settings["state"]
        if state["shed"] > 0:
            state["shed"] -= 1
            self.close(4013, "retry_after_ms=20")
        else:
            state["open"].append(self)

    def on_message(self, message: str | bytes) -> None:
        self.write_message(json.dumps({"re": json.loads(message)["id"], "ok": True, "data": {}}))


@asynccontextmanager
async def door(shed=0):
    state = {"shed": shed, "open": []}
    server = HTTPServer(tornado.web.Application([(r"/ws", Door)], state=state))
    socket, port = bind_unused_port()
    server.add_socket(socket)
    try:
        yield port, state
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def crowd(port):
    """What it tells, as it comes."""
    told: asyncio.Queue[dict[str, int]] = asyncio.Queue()
    guests = Guests("127.0.0.1", port, SEATS, longest=0.05)
    running = tasks.spawn("test.crowd", Crowd(guests, told.put_nowait, random.Random(1)).run())
    try:
        yield told
    finally:
        await tasks.stop(running)


async def test_it_tells_when_all_are_in_and_who_was_shed_on_the_way():
    async with door(shed=7) as (port, state), crowd(port) as told:
        assert await asyncio.wait_for(told.get(), 10) == {"shed": 7, "in_vain": 7}
        assert len(state["open"]) == 5


async def test_whoever_is_thrown_out_comes_back():
    async with door() as (port, state), crowd(port) as told:
        assert await asyncio.wait_for(told.get(), 10) == {"shed": 0, "in_vain": 0}
        state["shed"] = 1
        for socket in state["open"][:3]:
            socket.close(1001)
        assert await asyncio.wait_for(told.get(), 10) == {"shed": 1, "in_vain": 1}


async def test_it_waits_for_a_server_that_is_not_there():
    async with door() as (port, _):
        pass
    async with crowd(port) as told:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(told.get(), 0.2)


def test_guests_travel_as_json():
    guests = Guests("127.0.0.1", 9, SEATS, longest=2.0)
    assert Guests.from_json(guests.to_json()) == guests
