import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench import storm
from scripts.bench.ground import BenchFailed
from scripts.bench.prober import Asked

MET = {"shed": 4, "in_vain": 9}


def test_the_ratio_is_of_the_two_stretches_of_one_run():
    idle, stormy = Asked([0.010] * 99 + [0.020], 0, 0.1), Asked([0.010] * 90 + [0.060] * 10, 3, 0.7)
    measured = storm.figures_of(idle, stormy, MET)
    assert measured == {
        "rest_idle_p50_ms": 10.0,
        "rest_idle_p99_ms": 10.0,
        "rest_storm_p50_ms": 10.0,
        "rest_storm_p99_ms": 60.0,
        "rest_p99_ratio": 6.0,
        "rest_failures": 3.0,
        "rest_away_seconds": 0.7,
        "shed": 4.0,
        "in_vain": 9.0,
    }


def test_where_rest_died_as_well_there_may_be_no_ratio():
    measured = storm.figures_of(Asked([0.01], 0, 0.1), Asked([], 50, 3.0), MET)
    assert ("rest_p99_ratio" in measured, measured["rest_away_seconds"]) == (False, 3.0)


@pytest.mark.parametrize("idle", [Asked(), Asked([0.01], 1)])
def test_without_a_quiet_time_nothing_is_measured(idle):
    with pytest.raises(BenchFailed, match="quiet time"):
        storm.figures_of(idle, Asked([0.01]), MET)


@pytest.mark.timeout(180)
@pytest.mark.gen_test(timeout=170)
async def test_the_clients_of_a_killed_process_all_come_back_while_another_answers_rest(monkeypatch):
    monkeypatch.setattr(storm, "IDLE_SECONDS", 0.5)
    [measured] = [figures async for figures in storm.storms(storm.APART, 25, 1, longest=0.3)]
    assert measured["in_vain"] > 0
    assert measured["back_seconds"] > 0 < measured["dead_seconds"]
    # The other process was asked all the time, and refused nothing.
    assert (measured["rest_failures"], measured["rest_p99_ratio"] > 0) == (0, True)


class Measured:
    """In the place of hospitals: tells what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []

    async def storms(self, where, clients, count):
        self.asked.append((where[1], clients, count))
        for number in range(count):
            yield {"rest_p99_ratio": 2.0 + number, "back_seconds": 8.0, "rest_away_seconds": 0.2, "shed": 1.0}


def test_one_object_with_the_medians_of_all_rounds(monkeypatch, capsys):
    measured = Measured()
    monkeypatch.setattr(storm, "storms", measured.storms)
    assert storm.main(["--clients", "40", "--rounds", "3", "--together", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert measured.asked == [("im", 40, 3), ("all", 40, 3)]
    assert (shown["rest_p99_ratio"], shown["back_seconds"], shown["together_rest_away_seconds"]) == (3.0, 8.0, 0.2)
    assert (shown["about"]["clients"], shown["rounds"]["rest_p99_ratio"]) == (40, [2.0, 3.0, 4.0])


def test_what_cannot_be_measured_is_one_line(monkeypatch, capsys):
    async def none(*_):
        raise BenchFailed("the clients ended")
        yield {}

    monkeypatch.setattr(storm, "storms", none)
    assert storm.main([]) == 1
    assert capsys.readouterr().err == "bench: the clients ended\n"


def test_the_file_runs_by_itself_and_refuses_what_makes_no_sense():
    command = [sys.executable, str(Path(storm.__file__)), "--clients", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert (done.returncode, "must be at least 1" in done.stderr) == (2, True)
