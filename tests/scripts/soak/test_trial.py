"""The parts of a run; a whole one is tests/journeys/test_nothing_lost.py."""

import asyncio
from types import SimpleNamespace

import pytest

from core import tasks
from scripts.soak import trial as trials
from scripts.soak.flow import Flow
from scripts.soak.member import Seat
from scripts.soak.trial import PROCESSES, Course, Outcome, Trial, seats_of, stored_in
from scripts.soak.verdict import Verdict, place_of

LINES = [
    {"account": "P1", "role": "patient", "token": "t1", "device": "d1", "conversation": "C1", "peer": "D1"},
    {"account": "P2", "role": "patient", "token": "t2", "device": "d2", "conversation": "C2", "peer": "D2"},
    {"account": "D1", "role": "doctor", "token": "t3", "device": "d3", "conversation": "C1", "peer": "P1"},
    {"account": "D2", "role": "doctor", "token": "t4", "device": "d4", "conversation": "C2", "peer": "P2"},
]


class Parts:
    """Stands for the processes: notes who is killed and who comes back."""

    def __init__(self) -> None:
        self.ports = dict.fromkeys(PROCESSES, 1)
        self.names = [*PROCESSES, "mongo", "redis"]
        self.dead: set[str] = set()
        self.most_dead = 0

    async def kill(self, name: str) -> None:
        assert name not in self.dead
        self.dead.add(name)
        self.most_dead = max(self.most_dead, len(self.dead))

    async def revive(self, name: str) -> None:
        for _ in range(50):  # turns of the loop, in which others fall
            await asyncio.sleep(0)
        self.dead.remove(name)


async def acking(flow: Flow) -> None:
    while True:
        flow.ack()
        await asyncio.sleep(0)


def a_trial(**course) -> tuple[Trial, Parts]:
    parts = Parts()
    return Trial(Course(seed=3, **course), parts, seats_of(LINES), None), parts


def test_each_account_has_a_seat_and_knows_the_two_of_its_conversation():
    seats = seats_of(LINES)
    assert seats[3] == Seat(3, "t4", "d4", "C2", {"D2": 3, "P2": 1})
    assert seats[0].on("tablet") == Seat(0, "t1", "tablet", "C1", {"P1": 0, "D1": 2})


@pytest.mark.gen_test
async def test_one_reader_for_each_conversation_and_sockets_at_the_processes_that_have_them():
    trial, _ = a_trial()
    assert [reader.seat.conversation for reader in trial.readers] == ["C2", "C1"]
    assert [member.seat.number for member in trial.members] == [0, 1, 2, 3]


@pytest.mark.gen_test
async def test_every_part_falls_as_often_as_asked_and_is_alive_in_the_end(monkeypatch):
    monkeypatch.setattr(trials, "_DEAD_SECONDS", 0.0)
    trial, parts = a_trial(rounds=3, calm=5)
    living = tasks.spawn("test.acks", acking(trial.flow))
    await asyncio.wait_for(trial._strike(), 10)
    await tasks.stop(living)
    assert trial.kills == dict.fromkeys(parts.names, 3)
    assert (parts.dead, parts.most_dead) == (set(), 2)


@pytest.mark.gen_test
async def test_parts_fall_until_enough_has_been_said(monkeypatch):
    monkeypatch.setattr(trials, "_DEAD_SECONDS", 0.0)
    trial, _ = a_trial(rounds=1, calm=5, messages=100)

    async def talk():
        while trial.flow.say():
            trial.flow.ack()
            await asyncio.sleep(0)

    living = tasks.spawn("test.talk", talk())
    await asyncio.wait_for(trial._strike(), 10)
    await tasks.stop(living)
    assert trial.flow.is_enough
    assert min(trial.kills.values()) >= 1


@pytest.mark.gen_test
async def test_when_the_time_is_over_the_rounds_are_ended_and_nobody_waits_for_more(monkeypatch):
    monkeypatch.setattr(trials, "_DEAD_SECONDS", 0.0)
    trial, parts = a_trial(rounds=2, messages=1_000_000)
    trial._give_over()
    await asyncio.wait_for(asyncio.gather(trial._strike(), trial._cut()), 10)
    assert (trial.kills, trial.flow.said) == (dict.fromkeys(parts.names, 2), 0)


@pytest.mark.gen_test
async def test_the_same_seed_draws_the_same_victims():
    first, again = (list(a_trial(rounds=2)[0]._victims()) for _ in range(2))
    assert (first, len(first)) == (again, 12)


@pytest.mark.gen_test
async def test_what_is_stored_is_read_in_windows_and_named_by_its_sender(monkeypatch):
    monkeypatch.setattr(trials, "_WINDOW", 2)
    stored = [{"seq": seq, "account": "P1", "_id": f"P1/d1/C1/m{seq - 1}"} for seq in range(1, 6)]

    async def last_seq(conversation):
        return len(stored)

    async def between(conversation, after, last):
        return stored[after:last]

    found = await stored_in(SimpleNamespace(last_seq=last_seq, between=between), seats_of(LINES)[0])
    assert found == [(seq, place_of(0, seq - 1)) for seq in range(1, 6)]


def test_an_outcome_is_clean_only_without_faults():
    clean = Outcome(Verdict(), 1, [], {}, {}, 1.0)
    assert clean.is_clean
    assert not Outcome(Verdict(), 1, ["a fault"], {}, {}, 1.0).is_clean
    assert not Outcome(Verdict(lost=1), 1, [], {}, {}, 1.0).is_clean
