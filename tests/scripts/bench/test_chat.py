import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.bench import chat
from scripts.bench.figures import Rounds, summary


def test_the_figures_and_their_targets_are_the_promised_ones():
    assert {figure.name: figure.target for figure in chat.FIGURES} == {
        "group_commit_ratio": "≥ 3",
        "socket_ratio": "",
        "cpu_ratio_echo": "≤ 4",
        "loop_lag_p99_ms": "≤ 20",
        "idle_memory_ratio": "≤ 1.6",
        "ack_p95_half_over_insert": "≤ 12",
    }


class Loads:
    """In the place of servers and their load: tells what it was asked for, and answers with whole numbers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def put_load(self, target, kind, seats, **how):
        self.asked.append(f"{kind} on {target}")
        await asyncio.sleep(0)  # what runs beside the load begins
        talk = {"acks_per_second": 900.0, "ack_p95_ms": 20.0, "cpu_ms_per_exchange": 0.6 if target == "app" else 0.2}
        talk |= {"loop_lag_p99_ms": 7.0} if how.get("lag") else {}
        idle = {"bytes_per_connection": 18_000.0 if target == "app" else 15_000.0}
        return idle if kind == "idle" else talk

    async def inserts(self, senders, each):
        return (300.0, 100.0) if senders > 1 else (400.0, 2.0)

    async def posts(self, senders, each):
        return 1_200.0, 40.0

    async def fresh_app(self):
        return "app"

    def strangers(self, count):
        return []

    async def __aenter__(self):
        return "echo"

    async def __aexit__(self, *how):
        return None

    seats: Sequence[object] = ()
    pairs: Sequence[object] = ()


async def punctual(observe):
    observe(0.001)


@pytest.mark.gen_test
async def test_a_round_measures_each_figure_beside_its_baseline(monkeypatch):
    loads, rounds = Loads(), Rounds()
    monkeypatch.setattr(chat, "put_load", loads.put_load)
    monkeypatch.setattr(chat, "bare_server", lambda: loads)
    monkeypatch.setattr(chat.lag, "probe", punctual)
    await chat.one_round(loads, loads, chat.NAMES, rounds)
    assert loads.asked == ["closed on app", "closed on echo", "open on app", "idle on app", "idle on echo"]
    shown = summary(rounds, chat.FIGURES, chat.about(1))
    assert {name: shown[name] for name in chat.NAMES} == {
        "group_commit_ratio": 4.0,
        "socket_ratio": 3.0,
        "cpu_ratio_echo": 3.0,
        "loop_lag_p99_ms": 7.0,
        "idle_memory_ratio": 1.2,
        "ack_p95_half_over_insert": 10.0,
    }
    assert shown.keys() == {*chat.NAMES, "reported", "rounds", "about"}
    assert shown["reported"]["half_rate"] == 450.0
    assert (shown["reported"]["idle_loop_lag_p99_ms"], shown["reported"]["half_loop_lag_p99_ms"]) == (1.0, 7.0)


@pytest.mark.gen_test
async def test_one_figure_alone_puts_no_other_load(monkeypatch):
    loads, rounds = Loads(), Rounds()
    await chat.one_round(loads, loads, ["group_commit_ratio"], rounds)
    assert loads.asked == []
    assert "group_commit_ratio" in rounds.values
    assert "cpu_ratio_echo" not in rounds.values


def test_the_file_runs_by_itself_and_refuses_what_it_does_not_know():
    command = [sys.executable, str(Path(chat.__file__)), "--only", "speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert done.returncode == 2
    assert "invalid choice: 'speed'" in done.stderr
