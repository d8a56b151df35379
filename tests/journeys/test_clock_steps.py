"""The wall clock of the hospital is stepped by ten minutes, forwards and back: nothing is lost, doubled or left behind.

What is timed by the wall (tokens, deadlines) comes so much early or late; order, numbers and keys do not ask for it.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app import serving
from core import idempotency
from core.auth import Caller
from core.errors import Conflict
from core.idempotency import Call
from core.orders.rules import QUERY_AFTER
from scripts.acting import Line, Refused, until
from tests.clock import SettableClock
from tests.core.consulting import Case, House, open_house

TEN_MINUTES = 600
UNPAID_SECONDS = 900
STEPS = pytest.mark.parametrize("seconds", [TEN_MINUTES, -TEN_MINUTES])


@dataclass
class Stepped:
    """A house, two processes for its sockets with clocks of their own, and the clock of all the rest."""

    house: House
    clock: SettableClock
    sockets: list[serving.Process]
    clocks: list[SettableClock]

    def step(self, seconds: float) -> None:
        """On every clock."""
        for clock in (self.clock, *self.clocks):
            clock.step(seconds)

    async def line(self, caller: Caller, place: int = 0, device: str = "phone") -> Line:
        """A socket that has said hello at one of the two processes."""
        person = self.house.person(caller)
        person.url = f"http://127.0.0.1:{self.sockets[place].port}"
        return await person.connect(device)

    async def messages(self, case: Case) -> list[tuple[int, str]]:
        """Number and the client's own id of what people have said."""
        found = await self.house.ctx.messages.between(case.id, 0, 1_000)
        return [(one["seq"], one["_id"].rpartition("/")[2]) for one in found if one["account"] != "system"]


@pytest.fixture(scope="module")
def stepped(io_loop, mongo_uri, redis_url, tmp_path_factory, database):
    stack = AsyncExitStack()

    async def begin():
        clock, clocks = SettableClock(), [SettableClock(), SettableClock()]
        opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("stepped"), database, clock=clock)
        house = await stack.enter_async_context(opened)
        sockets = []
        for one in clocks:
            sockets.append(await serving.start(replace(house.settings, listen_port=0), "im", clock=one))
            stack.push_async_callback(sockets[-1].stop)
        return Stepped(house, clock, sockets, clocks)

    yield io_loop.run_sync(begin, timeout=60)
    io_loop.run_sync(stack.aclose, timeout=60)


@pytest.fixture(autouse=True)
def tidied(io_loop, stepped):
    """Each test leaves nothing to be done, and the next begins with clocks that are right, as the vendors' are."""
    yield
    io_loop.run_sync(stepped.house.tidy)
    for clock in (stepped.clock, *stepped.clocks):
        clock.step((datetime.now(UTC) - clock.now()).total_seconds())


async def status_of(person: Any, case: Case) -> int:
    return int((await person.send("GET", f"/visits/{case.id}")).status_code)


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_tokens_end_so_much_early_or_late_and_the_next_one_holds(stepped, seconds):
    case = await stepped.house.in_progress()
    person = stepped.house.person(case.patient)
    line = await stepped.line(case.patient)
    stepped.step(seconds)
    for process in stepped.sockets:
        process.hospital.hub.turn()
    assert list(await line.request("ping")) == ["server_time"]
    stepped.step(900 - TEN_MINUTES)
    stepped.sockets[0].hospital.hub.turn()
    ended = seconds > 0
    if ended:
        await line.closed.wait()
    assert (line.close_code, await status_of(person, case)) == ((4001, 401) if ended else (None, 200))
    again = await stepped.line(case.patient)
    assert list(await again.request("ping")) == ["server_time"]
    for one in (line, again):
        await one.close()


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_numbers_go_on_and_a_repeat_is_told_as_the_first_time(stepped, seconds):
    case = await stepped.house.in_progress()
    here, there = await stepped.line(case.patient), await stepped.line(case.doctor, 1)
    first = await here.say(case.id, "一", id="one")
    stepped.step(seconds)
    acks = [await there.say(case.id, "二", id="two"), await here.say(case.id, "一", id="one")]
    third = await here.say(case.id, "三", id="three")
    assert (acks[0]["seq"], third["seq"]) == (first["seq"] + 1, first["seq"] + 2)
    assert acks[1] == {**first, "dup": True}
    assert [id_ for _, id_ in await stepped.messages(case)] == ["one", "two", "three"]
    for line in (here, there):
        await line.close()


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_processes_whose_clocks_differ_number_one_conversation_alike(stepped, seconds):
    case = await stepped.house.in_progress()
    stepped.clocks[1].step(seconds)
    lines = await stepped.line(case.patient), await stepped.line(case.doctor, 1)
    for number in range(6):
        await lines[number % 2].say(case.id, str(number), id=f"m{number}")
    stored = await stepped.messages(case)
    assert [id_ for _, id_ in stored] == [f"m{number}" for number in range(6)]
    assert [seq for seq, _ in stored] == list(range(stored[0][0], stored[0][0] + 6))
    for line in lines:
        page = (await line.request("sync", cursors={case.id: stored[0][0] - 1}, limit=10))["conversations"][0]
        assert [message["body"]["text"] for message in page["messages"]] == list("012345")
        await line.close()


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_deadlines_come_by_the_clock_as_it_is_and_once(stepped, seconds):
    case = await stepped.house.submitted()
    stepped.step(seconds)
    await stepped.house.rest()
    assert await case.standing() == ("pending_payment", "pending")
    stepped.step(UNPAID_SECONDS - seconds + 1)
    await stepped.house.ctx.duties.run_due()
    await stepped.house.rest()
    assert await case.standing() == ("expired", "closed")
    assert [entry["act"] for entry in (await case.visit())["history"]].count("expire") == 1


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_a_payment_is_found_by_asking_where_its_notification_looks_too_old_or_too_new(stepped, seconds):
    case = await stepped.house.submitted()
    await case.open_payment()
    await stepped.house.faults(drop_notifications=False)
    stepped.step(seconds)
    assert await stepped.house.pay(case.order_id)
    assert await case.standing() == ("pending_payment", "pending")
    stepped.step(max(0, -seconds) + QUERY_AFTER[0])
    await stepped.house.rest()
    assert await case.standing() == ("waiting", "paid")
    assert [entry["act"] for entry in (await case.visit())["history"]].count("submit") == 1


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_a_keyed_call_is_answered_once_and_a_dead_ones_key_is_free_in_the_end(stepped, seconds):
    house = stepped.house
    caller, patient_id = await house.patient()
    form = await house.form(patient_id)
    first = await house.submit(caller, form, request="same")
    stepped.step(seconds)
    assert (await house.submit(caller, form, request="same"))["_id"] == first["_id"]
    assert await house.ctx.store.db["visits"].count_documents({"patient_account": caller.id}) == 1

    def call() -> Call:
        return Call(caller.id, "died", "POST", "/visits", b"{}", stepped.clock.now())

    assert await idempotency.begin(house.ctx, call()) is None  # and its process ends here
    stepped.step(-seconds)
    if seconds > 0:
        with pytest.raises(Conflict, match="in_progress"):
            await idempotency.begin(house.ctx, call())
        stepped.step(TEN_MINUTES)
    stepped.step(idempotency.STALE_SECONDS + 1)
    assert await idempotency.begin(house.ctx, call()) is None


@STEPS
@pytest.mark.gen_test(timeout=60)
async def test_a_message_may_be_taken_back_within_two_minutes_of_the_clock(stepped, seconds):
    case = await stepped.house.in_progress()
    line = await stepped.line(case.patient)
    ack = await line.say(case.id, "错了")
    stepped.step(seconds)

    async def recall() -> bool:
        return bool(await line.request("message.recall", conversation=case.id, seq=ack["seq"]))

    if seconds > 0:
        with pytest.raises(Refused, match="wrong_state"):
            await recall()
    else:
        await until(recall)
    recalled = (await stepped.house.ctx.messages.at(case.id, ack["seq"]))["recalled_at"]
    assert (recalled is None) is (seconds > 0)
    await line.close()
