import json

import pytest

from scripts.acting import Refused
from scripts.bench.command import Benchmark, main
from scripts.bench.figures import Figure, Rounds
from scripts.bench.ground import BenchFailed
from scripts.embedded import StartFailed


def benchmark(*failures: Exception) -> Benchmark:
    async def run(names, count):
        if failures:
            raise failures[0]
        rounds = Rounds()
        for name in names:
            rounds.note(**{name: float(count)})
        return rounds

    figures = [Figure("speed", "how fast", at_least=3.0), Figure("weight", "how heavy")]
    return Benchmark("bench", "A benchmark.", figures, ["speed", "weight"], run, lambda count: {"rounds": count})


def test_all_figures_are_measured_and_printed_as_one_object(capsys):
    assert main(benchmark(), ["--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["speed"], shown["weight"], shown["about"]) == (5.0, 5.0, {"rounds": 5})


def test_one_figure_alone_and_fewer_rounds_may_be_asked_for(capsys):
    assert main(benchmark(), ["--only", "speed", "--rounds", "2"]) == 0
    shown = capsys.readouterr().out
    assert "speed" in shown
    assert "not reached" in shown
    assert "weight" not in shown


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (BenchFailed("nobody answers"), "nobody answers"),
        (Refused("forbidden"), "forbidden"),
        (ExceptionGroup("starting", [StartFailed("the port is taken")]), "the port is taken"),
    ],
)
def test_what_cannot_be_measured_is_one_line(capsys, failure, said):
    assert main(benchmark(failure), []) == 1
    assert capsys.readouterr().err == f"bench: {said}\n"


def test_a_mistake_of_the_benchmark_is_not_hidden():
    with pytest.raises(ExceptionGroup):
        main(benchmark(ExceptionGroup("starting", [KeyError("speed")])), [])


def test_no_round_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(benchmark(), ["--rounds", "0"])
    assert ended.value.code == 2
    assert "--rounds must be at least 1" in capsys.readouterr().err
