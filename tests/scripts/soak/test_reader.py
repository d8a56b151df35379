import random

import httpx
import pytest

from core import tasks
from scripts.acting import until
from scripts.soak.reader import Reader
from scripts.soak.verdict import place_of
from tests.scripts.soak.stage import SEATS, open_stage

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def http(io_loop):
    client = httpx.AsyncClient(timeout=5)
    yield client
    io_loop.run_sync(client.aclose)


def reader_at(port, http) -> Reader:
    return Reader(SEATS[0], http, f"http://127.0.0.1:{port}", random.Random(1))


async def test_it_reads_on_from_what_it_holds(http):
    async with open_stage() as stage:
        reader = reader_at(stage.port, http)
        stage.stored = [("P", "0"), ("D", "0"), ("P", "1"), ("P", "2")]
        assert await reader.look()
        stage.stored.append(("D", "1"))
        assert await reader.look()
        assert list(reader.heard) == [place_of(*said) for said in ((0, 0), (1, 0), (0, 1), (0, 2), (1, 1))]


async def test_it_reads_until_it_is_stopped(http):
    async with open_stage() as stage:
        reader = reader_at(stage.port, http)
        reading = tasks.spawn("test.reader", reader.run())
        stage.stored = [("P", "0")]

        async def has_read() -> bool:
            return len(reader.heard) == 1

        await until(has_read)
        await tasks.stop(reading)


async def test_an_api_that_is_away_is_asked_again_and_another_refusal_is_a_fault(http):
    async with open_stage() as stage:
        reader = reader_at(stage.port, http)
        stage.status = 503
        assert not await reader.look()
        stage.status = 404
        assert not await reader.look()
    assert not await reader_at(stage.port, http).look()
    assert (reader.counted, reader.faults) == ({"away": 1}, ["the history was refused with 404"])


async def test_a_hole_is_a_fault(http, monkeypatch):
    async with open_stage() as stage:
        stage.stored = [("P", "0"), ("P", "1")]
        monkeypatch.setattr(type(stage), "page", lambda stage, cursor: {"items": [stage.message(2)], "more": False})
        reader = reader_at(stage.port, http)
        assert await reader.look()
        assert (list(reader.heard), reader.faults) == ([], ["a page of the history had a hole"])
