"""What is believed of a visit, and for how long."""

import asyncio

import pytest

from core.errors import NotFound, ServiceUnavailable, refusal_of
from im import standing as standings
from im.standing import Standings
from storage.bus import Bus
from storage.mongo import STORE_AWAY
from tests.im.house import until

pytestmark = pytest.mark.gen_test(timeout=20)


class Visits:
    """Answers the visit `v` with its status; reads wait at the gate."""

    def __init__(self):
        self.status, self.reads, self.fault = "in_progress", 0, None
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, id_):
        self.reads += 1
        status = self.status
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return {"patient_account": "p", "doctor_id": "d", "status": status} if id_ == "v" else None


@pytest.fixture
def bus(io_loop, redis):
    async def begin():
        opened = Bus(redis, "standing")
        await opened.start()
        return opened

    made = io_loop.run_sync(begin)
    yield made
    io_loop.run_sync(made.stop)


@pytest.fixture
def visits():
    return Visits()


async def test_one_read_serves_all_for_five_seconds(bus, visits, monkeypatch):
    known = Standings(visits, bus)
    found = await asyncio.gather(*(known.get("v") for _ in range(5)))
    assert {id(one) for one in found} == {id(known.fresh("v"))}
    assert (visits.reads, found[0].members, found[0].to) == (1, {"p": "patient", "d": "doctor"}, ["d", "p"])
    monkeypatch.setattr(standings, "BELIEVED_SECONDS", -1.0)
    assert known.fresh("v") is None
    await known.get("v")
    assert visits.reads == 2


async def test_what_was_read_together_is_not_read_again_together(bus, visits, monkeypatch):
    monkeypatch.setattr(standings.random, "uniform", lambda low, high: high)
    known = Standings(visits, bus)
    asked_at = asyncio.get_running_loop().time()
    found = await known.get("v")
    assert standings.BELIEVED_SECONDS > standings.SPREAD_SECONDS > 0
    assert found.read_at - asked_at == pytest.approx(-standings.SPREAD_SECONDS, abs=0.5)


async def test_a_move_is_heard_at_once(bus, visits):
    known = Standings(visits, bus)
    await known.get("v")
    visits.status = "completed"
    await bus.broadcast("visit.moved", {"visit": "v"})
    assert known.fresh("v") is None
    assert (await known.get("v")).status == "completed"


async def test_a_move_told_during_a_read_is_not_forgotten(bus, visits):
    known = Standings(visits, bus)
    visits.gate.clear()
    reading = asyncio.gather(known.get("v"))
    await until(lambda: visits.reads)
    visits.status = "completed"
    await bus.broadcast("visit.moved", {"visit": "v"})
    visits.gate.set()
    await reading
    assert (await known.get("v")).status == "completed"


async def test_with_the_bus_away_each_time_is_a_read(bus, visits):
    known = Standings(visits, bus)
    bus.available = False
    await known.get("v")
    await known.get("v")
    bus.available = True
    assert visits.reads == 2


async def test_no_visit_is_not_found_and_a_store_away_is_told(bus, visits):
    known = Standings(visits, bus)
    with pytest.raises(NotFound):
        await known.get("w")
    visits.fault = STORE_AWAY[0]("away")
    with pytest.raises(STORE_AWAY) as caught:
        await known.get("v")
    assert isinstance(refusal_of(caught.value), ServiceUnavailable)
    visits.fault = None
    assert (await known.get("v")).status == "in_progress"


async def test_members_outlive_the_status(bus, visits):
    known = Standings(visits, bus)
    await known.get("v")
    await bus.broadcast("visit.moved", {"visit": "v"})
    visits.fault = STORE_AWAY[0]("away")
    assert await known.members("v") == ["d", "p"]


async def test_the_oldest_are_forgotten(bus, monkeypatch):
    monkeypatch.setattr(standings, "REMEMBERED", 3)

    class Any(Visits):
        async def get(self, id_):
            return await super().get("v")

    known = Standings(Any(), bus)
    for number in range(10):
        await known.get(str(number))
    assert list(known._known) == ["7", "8", "9"]
