"""Who is here, who is told, who must go: in one process and across two."""

import asyncio
import json
import random

import pytest
from tornado.websocket import websocket_connect

from core import tasks
from core.ids import new_id
from core.policy import Policy
from im import hub as hubs
from im.frames import FRAME_BYTES, Close
from im.outgoing import BYTES
from scripts.bench import crowd as crowds
from scripts.bench.client import Seat
from scripts.bench.crowd import Crowd, Guests
from tests.im.house import add_visit, token, until

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_a_device_that_opens_a_newer_socket_loses_the_older_one(server, visit):
    older = await server.line(visit.patient)
    other_device = await server.line(visit.patient, device="tablet")
    newer = await server.line(visit.patient)
    assert (await older.closed())[0] == Close.REPLACED
    assert [(one["ev"], one["data"]) for one in older.events] == [("session.replaced", {"session": newer.session})]
    for line in (newer, other_device):
        assert list(await line.request("ping")) == ["server_time"]


async def test_the_same_device_of_another_account_is_another_device(server, visit):
    lines = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    for line in lines:
        assert list(await line.request("ping")) == ["server_time"]


async def test_a_newer_socket_in_another_process_replaces_the_older_one_here(start, visit):
    first, second = await start(), await start()
    older = await first.line(visit.patient)
    newer = await second.line(visit.patient)
    assert (await older.closed())[0] == Close.REPLACED
    assert older.events[-1] == {"ev": "session.replaced", "data": {"session": newer.session}}
    assert list(await newer.request("ping")) == ["server_time"]


async def test_of_two_sockets_opened_at_once_in_two_processes_one_stays(start, visit):
    first, second = await start(), await start()
    one, two = await asyncio.gather(first.line(visit.patient), second.line(visit.patient))
    loser, winner = sorted((one, two), key=lambda line: line.session)
    assert (await loser.closed())[0] == Close.REPLACED
    assert list(await winner.request("ping")) == ["server_time"]


async def test_a_revoked_login_closes_its_sockets_in_every_process(start, visit):
    first, second = await start(), await start()
    revoked = await second.line(visit.patient, device="phone", claims={"session": "lost"})
    kept = await second.line(visit.patient, device="tablet", claims={"session": "kept"})
    await first.bus.broadcast("session.revoked", {"session": "lost"})
    assert (await revoked.closed())[0] == Close.UNAUTHENTICATED
    assert list(await kept.request("ping")) == ["server_time"]


async def test_all_of_an_accounts_sockets_close_when_it_is_called_back(server, visit):
    phone, tablet = await server.line(visit.patient), await server.line(visit.patient, device="tablet")
    doctor = await server.line(visit.doctor, "doctor")
    await server.bus.broadcast("session.revoked", {"account": visit.patient})
    assert [(await line.closed())[0] for line in (phone, tablet)] == [Close.UNAUTHENTICATED] * 2
    assert list(await doctor.request("ping")) == ["server_time"]


async def test_messages_cross_processes_and_are_in_order_on_both(start, visit):
    first, second = await start(), await start()
    patient, doctor = await first.line(visit.patient), await second.line(visit.doctor, "doctor")
    for number in range(1, 11):
        line = patient if number % 2 else doctor
        assert (await line.say(visit, str(number)))["seq"] == number
    for line in (patient, doctor):
        await line.event("message.created", seq=10)
        assert line.said(visit) == [(number, {"text": str(number)}) for number in range(1, 11)]


async def _deaf(server, account, role="patient"):
    """A connection that has said hello and then reads nothing."""
    opened = await websocket_connect(f"ws://127.0.0.1:{server.port}/ws")
    hello = {"token": token(server.ctx, account, role), "device": "d"}
    await opened.write_message(json.dumps({"id": "h", "op": "hello", "args": hello}))
    await opened.read_message()
    return opened


async def test_a_slow_reader_is_closed_with_4008_and_what_waited_for_it_is_gone(server, visit):
    slow = await _deaf(server, visit.doctor, "doctor")
    socket = server.hub._accounts[visit.doctor][0]
    event = {"to": [visit.doctor], "ev": "typing", "data": {"conversation": visit.id, "account": "x" * 20_000}}
    sent = 0
    while not socket.out.closed:
        await server.bus.publish([event] * 10)
        sent += 10 * 20_000
        await asyncio.sleep(0)
        assert socket.out._bytes <= BYTES
        assert sent < 200_000_000
    assert socket.out._waiting == []
    assert visit.doctor not in server.hub._accounts
    async with asyncio.timeout(8):
        while await slow.read_message() is not None:
            pass
    assert slow.close_code == Close.TOO_SLOW
    slow.close()


async def test_a_fast_reader_may_be_told_more_at_once_than_may_wait(server, visit):
    line = await server.line(visit.doctor, "doctor")
    event = {"to": [visit.doctor], "ev": "typing", "data": {"conversation": visit.id, "account": "x"}}
    await server.bus.publish([event] * 1_000)
    await until(lambda: len(line.events) == 1_000)


async def test_drain_tells_when_to_come_back_and_closes_with_4012(server, visit):
    lines = [await server.line(visit.patient), await server.line(visit.doctor, "doctor")]
    stranger = await server.open()
    await server.hub.drain(0.05)
    for line in lines:
        assert (await line.closed())[0] == Close.DRAINING
        assert [one["ev"] for one in line.events] == ["drain"]
        assert 0 <= line.events[0]["data"]["reconnect_after_ms"] <= 50
    assert (await stranger.closed())[0] == Close.DRAINING
    assert (await (await server.open()).closed())[0] == Close.DRAINING


async def test_too_many_at_once_are_shed_with_4013_and_a_time(start, visit):
    process = await start(policy=Policy(socket_accepts_per_second=1))
    await process.line(visit.patient)
    code, reason = await (await process.open()).closed()
    name, _, wait = reason.partition("=")
    assert (code, name) == (Close.OVERLOADED, "retry_after_ms")
    assert hubs._AWAY_MS[0] <= int(wait) <= hubs._AWAY_MS[1]


async def test_those_who_were_shed_come_at_times_of_their_own_and_all_get_in(start, monkeypatch):
    monkeypatch.setattr(hubs, "_AWAY_MS", (50, 400))
    monkeypatch.setattr(crowds, "ARRIVALS_PER_SECOND", 1_000.0)
    process = await start(policy=Policy(socket_accepts_per_second=20))
    seats = [Seat("/ws", token(process.ctx, new_id()), "phone") for _ in range(60)]
    told: asyncio.Queue[dict[str, int]] = asyncio.Queue()
    crowd = Crowd(Guests("127.0.0.1", process.port, seats), told.put_nowait, random.Random(1))
    coming = tasks.spawn("test.crowd", crowd.run())
    met = await asyncio.wait_for(told.get(), 15)
    assert met["shed"] > 0
    assert len(process.hub._accounts) == 60
    await tasks.stop(coming)


async def test_what_slow_readers_cost_in_memory_has_its_bound(server, indexed):
    visits = [await add_visit(indexed) for _ in range(4)]
    slow = [await _deaf(server, visit.patient) for visit in visits]
    outs = [server.hub._accounts[visit.patient][0].out for visit in visits]
    to = [visit.patient for visit in visits]
    event = {"to": to, "ev": "typing", "data": {"conversation": visits[0].id, "account": "x" * 20_000}}
    told = most = 0
    while not all(out.closed for out in outs):
        await server.bus.publish([event])
        told += 20_000
        most = max(most, sum(out._bytes + len(out._stream._write_buffer) for out in outs))
        await asyncio.sleep(0)
        assert told < 50_000_000
    # What waits here, and one frame on its way in the stream, each.
    assert most <= len(outs) * (BYTES + 2 * FRAME_BYTES)
    assert all(out._waiting == [] for out in outs)
    for line in slow:
        line.close()


async def test_a_socket_that_answers_no_ping_is_let_go(server, visit):
    dead, alive = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    socket = server.hub._accounts[visit.patient][0]
    living = server.hub._accounts[visit.doctor][0]
    socket.on_pong = lambda data: None
    for _ in range(2):
        living.heard = False
        socket.beat()
        living.beat() if living.heard else living.ping()
        await until(lambda: living.heard)
    assert visit.patient not in server.hub._accounts
    await dead.closed()
    assert list(await alive.request("ping")) == ["server_time"]


async def test_presence_is_given_up_with_the_last_socket(start, visit):
    first, second = await start(), await start()
    phone, tablet = await first.line(visit.patient), await first.line(visit.patient, device="tablet")
    assert await second.bus.is_online([visit.patient, visit.doctor]) == {visit.patient}
    await phone.close()
    await until(lambda: len(first.hub._accounts[visit.patient]) == 1)
    assert await second.bus.is_online([visit.patient]) == {visit.patient}
    await tablet.close()
    async with asyncio.timeout(8):
        while await second.bus.is_online([visit.patient]):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)


async def test_nothing_of_a_closed_socket_is_kept(server, indexed):
    visits = [await add_visit(indexed) for _ in range(5)]
    for visit in visits:
        line = await server.line(visit.patient)
        await line.request("sync", cursors=None)
        await line.close()
    await until(lambda: not server.hub._accounts)
    wheel = server.hub._wheel
    assert (wheel.strangers(), [slot for slot in wheel._slots if slot], dict(wheel._expiring)) == ([], [], {})
