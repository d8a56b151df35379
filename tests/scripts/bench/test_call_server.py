import asyncio
import json

import pytest

from scripts.bench import call_server, calls
from scripts.bench.call_client import Door, Plan
from scripts.bench.call_server import Lag, Ours, Quiet
from tests.rtc.peers import Peer


@pytest.mark.gen_test(timeout=60)
async def test_aiortcs_own_way_answers_records_and_relays(tmp_path):
    async with calls.server("stock", tmp_path) as (_, port):
        door = await Door.open(port)
        peers = [Peer(), Peer()]
        for side, peer in zip(("doctor", "patient"), peers, strict=True):
            answer = await door.ask(op="offer", call="a", side=side, sdp=await peer.offer())
            await peer.accept(answer)
        await asyncio.gather(*(peer.gets(audio=5) for peer in peers))
        assert (await door.ask(op="lag"))["p99_ms"] >= 0
        door.close()
        for peer in peers:
            await peer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-doctor.webm", "a-patient.webm"]


@pytest.mark.gen_test
async def test_a_recorder_that_failed_spoils_the_measurement(tmp_path):
    ours = Ours(tmp_path)
    ours._events.recorder_failed("doctor", 1, "queue_full")
    with pytest.raises(RuntimeError, match="1 recorders failed"):
        await ours.close()


def test_lag_is_forgotten_once_it_was_told():
    lag = Lag()
    lag.late = [0.001, 0.005]
    assert lag.take() == {"p99_ms": 5.0}
    assert lag.take() == {"p99_ms": 0.0}


def test_only_failures_are_counted():
    quiet = Quiet()
    quiet.connected("doctor", 1)
    quiet.silent("doctor", 1, "lost")
    assert quiet.failures == 0


def test_both_ways_are_known():
    assert set(call_server.KINDS) == {"ours", "stock"}
    assert json.loads(Plan(1, "clip").to_json())["port"] == 1
