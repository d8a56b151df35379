import asyncio

import pytest
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from core import tasks
from scripts.acting import until
from scripts.bench import prober as probers
from scripts.bench.prober import Prober

pytestmark = pytest.mark.gen_test(timeout=30)


class Page(tornado.web.RequestHandler):
    async def get(self) -> None:
        state = self.application.settings["state"]
        state["tokens"].add(self.request.headers["Authorization"])
        await state["gate"].wait()
        self.set_status(state["status"])
        self.write("[]" * 2_000)


@pytest.fixture
def state():
    gate = asyncio.Event()
    gate.set()
    return {"gate": gate, "status": 200, "tokens": set()}


@pytest.fixture
def port(io_loop, state):
    async def listen():
        server = HTTPServer(tornado.web.Application([(r"/page", Page)], state=state))
        socket, port = bind_unused_port()
        server.add_socket(socket)
        return server, port

    server, port = io_loop.run_sync(listen)
    yield port
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def prober(io_loop, port):
    """Asks all the time."""
    made = Prober(port, "/page", "secret", per_second=200)

    async def begin():
        return tasks.spawn("test.probe", made.run())

    running = io_loop.run_sync(begin)
    yield made
    io_loop.run_sync(lambda: tasks.stop(running))


async def has(prober, **counts):
    async def reached() -> bool:
        return len(prober._asked.latencies) >= counts.get("answers", 0) and prober._asked.failures >= counts.get(
            "failures", 0
        )

    await until(reached)


async def test_answers_are_timed_and_taken_once(prober, state):
    await has(prober, answers=10)
    asked = prober.take()
    assert (asked.failures, min(asked.latencies) > 0, state["tokens"]) == (0, True, {"Bearer secret"})
    assert prober.take().latencies == []


async def test_a_stall_counts_for_all_that_were_due_meanwhile(prober, state):
    await has(prober, answers=3)
    prober.take()
    state["gate"].clear()
    await asyncio.sleep(0.2)
    state["gate"].set()
    await has(prober, answers=20)
    asked = prober.take()
    assert asked.longest_gap >= 0.15
    assert sum(latency > 0.05 for latency in asked.latencies) >= 10


async def test_a_refusal_and_silence_are_failures(prober, state, monkeypatch):
    state["status"] = 503
    await has(prober, failures=3)
    state["status"] = 200
    monkeypatch.setattr(probers, "ANSWER_SECONDS", 0.05)
    prober.take()
    state["gate"].clear()
    await has(prober, failures=2)
    state["gate"].set()
    await has(prober, answers=2)


async def test_nobody_there_is_a_failure_each_time():
    lonely = Prober(1, "/page", "t", per_second=200)
    running = tasks.spawn("test.probe", lonely.run())
    await has(lonely, failures=3)
    await tasks.stop(running)
    asked = lonely.take()
    assert (asked.latencies, asked.longest_gap > 0) == ([], True)
