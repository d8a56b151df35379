import asyncio
import json
import os

import pytest

from scripts.bench import client
from scripts.bench.client import Client, LoadFailed, Pair, Plan, Probe, Seat, Talker, request
from scripts.bench.ground import bare_server, paired
from scripts.bench.scrape import NotCounted

PAIRS = [Pair(0, 1, "C" * 26), Pair(2, 3, "D" * 26)]
SEATS = [Seat("/ws", f"token{n}", f"device{n}") for n in range(4)]


class Recorded:
    """In the place of a wire."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)


def wired() -> tuple[Client, Recorded]:
    one, wire = Client(SEATS[0]), Recorded()
    one._wire = wire  # type: ignore[assignment]  # stands in for a connection
    return one, wire


def test_a_plan_survives_its_journey():
    plan = Plan("open", "127.0.0.1", 80, 1, SEATS, PAIRS, rate=12.5, probe=3)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.gen_test
async def test_a_talker_sends_whole_requests_with_ids_of_one_length_and_times_their_answers():
    one, wire = wired()
    talker = Talker(one, "C" * 26)
    talker.send()
    talker.send()
    first, second = (json.loads(frame) for frame in wire.sent)
    assert first["op"] == "message.send"
    assert first["args"] == {"conversation": "C" * 26, "kind": "text", "body": {"text": client.TEXT}}
    assert (len(first["id"]), len(second["id"]), first["id"] != second["id"]) == (client.ID_LENGTH,) * 2 + (True,)
    one._read(json.dumps({"re": first["id"], "ok": True, "data": {}}).encode())
    assert (talker.waiting, talker.latencies) == (1, [])
    talker.counts = True
    one._read(json.dumps({"re": second["id"], "ok": True, "data": {}}).encode())
    assert (talker.waiting, len(talker.latencies)) == (0, 1)


@pytest.mark.gen_test
async def test_batches_are_read_and_only_messages_are_counted_as_pushed():
    one, _ = wired()
    events = [{"ev": name, "data": {}} for name in ("message.created", "message.read", "message.created")]
    one._read(json.dumps(events).encode())
    assert one.told == 2


@pytest.mark.gen_test
async def test_a_refusal_ends_the_load():
    one, _ = wired()
    one._hello.set_result(None)
    with pytest.raises(LoadFailed, match="refused: rate_limited"):
        one._read(b'{"re":"1","ok":false,"error":{"code":"rate_limited"}}')


@pytest.mark.gen_test
async def test_the_probe_times_a_ping():
    one, wire = wired()
    probe = Probe(one)
    running = asyncio.get_running_loop().create_task(probe.run())
    await asyncio.sleep(0)
    one._read(b'{"re":"probe","ok":true,"data":{}}')
    running.cancel()
    assert wire.sent == [request("probe", "ping", {})]
    assert len(probe.lags) == 1


@pytest.mark.gen_test(timeout=30)
@pytest.mark.parametrize(("kind", "rate"), [("closed", 0.0), ("open", 100.0)])
async def test_a_load_on_the_bare_server_is_measured(kind, rate):
    async with bare_server() as bare:
        plan = Plan(
            kind,
            "127.0.0.1",
            bare.port,
            bare.pid,
            paired(SEATS, PAIRS),
            PAIRS,
            warm_seconds=0.1,
            seconds=0.3,
            rate=rate,
        )
        measured = await client.run(plan)
    assert measured["acks_per_second"] > 0
    assert measured.keys() == {
        "acks_per_second",
        "cpu_ms_per_exchange",
        "ack_p50_ms",
        "ack_p95_ms",
        "ack_p99_ms",
        "server_mib",
    }


@pytest.mark.gen_test(timeout=30)
async def test_the_lag_of_a_server_that_counts_none_ends_the_load():
    async with bare_server() as bare:
        seats = paired(SEATS, PAIRS)
        plan = Plan("closed", "127.0.0.1", bare.port, bare.pid, seats, PAIRS, warm_seconds=0.1, seconds=0.2, lag=True)
        with pytest.raises(NotCounted, match="no metrics: 404"):
            await client.run(plan)


@pytest.mark.gen_test(timeout=30)
async def test_idle_connections_are_measured():
    async with bare_server() as bare:
        plan = Plan("idle", "127.0.0.1", bare.port, bare.pid, SEATS, warm_seats=1, settle_seconds=0.1)
        measured = await client.run(plan)
    assert measured.keys() == {"bytes_per_connection", "cpu_ms_per_connect", "connects_per_second", "server_mib"}


@pytest.mark.gen_test(timeout=30)
async def test_a_server_that_is_not_there_ends_the_load():
    plan = Plan("idle", "127.0.0.1", 1, os.getpid(), SEATS)
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await client.run(plan)
