import pytest

from scripts.bench.client import Pair, Seat
from scripts.bench.ground import BenchFailed, Target, bare_server, paired, put_load, seated

LINES = [
    {"account": "P1", "role": "patient", "token": "t1", "device": "d1", "conversation": "C1", "peer": "D1"},
    {"account": "P2", "role": "patient", "token": "t2", "device": "d2", "conversation": "C2", "peer": "D2"},
    {"account": "D2", "role": "doctor", "token": "t4", "device": "d4", "conversation": "C2", "peer": "P2"},
    {"account": "D1", "role": "doctor", "token": "t3", "device": "d3", "conversation": "C1", "peer": "P1"},
]


def test_patients_are_paired_with_their_doctors():
    seats, pairs = seated(LINES)
    assert seats[2] == Seat("/ws", "t4", "d4")
    assert pairs == [Pair(0, 3, "C1"), Pair(1, 2, "C2")]


def test_the_bare_server_joins_the_same_two():
    assert [seat.path for seat in paired(*seated(LINES))] == ["/ws/0", "/ws/1", "/ws/1", "/ws/0"]


@pytest.mark.gen_test(timeout=30)
async def test_a_load_client_of_its_own_measures_the_bare_server():
    seats, pairs = seated(LINES)
    async with bare_server() as bare:
        measured = await put_load(bare, "closed", paired(seats, pairs), pairs=pairs, warm_seconds=0.1, seconds=0.2)
    assert measured["acks_per_second"] > 0


@pytest.mark.gen_test(timeout=30)
async def test_a_load_that_cannot_be_put_is_one_line():
    async with bare_server() as bare:
        gone = Target(1, bare.pid)
        with pytest.raises(BenchFailed, match=r"^load: .*Error: "):
            await put_load(gone, "idle", [Seat("/ws", "t", "d")])
