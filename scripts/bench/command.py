"""What the benchmarks' programs have in common: options, output, and one line when nothing can be measured."""

import argparse
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import uvloop

from scripts.acting import NotAsPromised, Refused
from scripts.bench.figures import Figure, Rounds, summary, table
from scripts.bench.ground import BenchFailed
from scripts.bootstrap import CannotStart
from scripts.embedded import StartFailed

# What a hospital that cannot be measured raises; anything else is a mistake of the benchmark.
_FAILURES: Final = (BenchFailed, CannotStart, StartFailed, NotAsPromised, Refused, httpx.HTTPError)


@dataclass(frozen=True)
class Benchmark:
    """One program: `run(names, rounds)` measures, `about(rounds)` says with what; `names` may be asked for alone."""

    program: str
    description: str
    figures: Sequence[Figure]
    names: Sequence[str]
    run: Callable[[Sequence[str], int], Coroutine[Any, Any, Rounds]]
    about: Callable[[int], Mapping[str, Any]]


def main(benchmark: Benchmark, arguments: Sequence[str]) -> int:
    """Measure and print; 1 and one line when it cannot be measured."""
    names = benchmark.names
    parser = argparse.ArgumentParser(prog=benchmark.program, description=benchmark.description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    running = benchmark.run(options.only or names, options.rounds)
    return publish(running, benchmark.figures, lambda: benchmark.about(options.rounds), as_json=options.json)


def publish(
    running: Coroutine[Any, Any, Rounds],
    figures: Sequence[Figure],
    about: Callable[[], Mapping[str, Any]],
    *,
    as_json: bool,
) -> int:
    """Measure and print, for a program with options of its own; 1 and one line when it cannot be measured."""
    try:
        rounds = uvloop.run(running)
    except (*_FAILURES, ExceptionGroup) as error:
        failure = _first(error)
        if not isinstance(failure, _FAILURES):
            raise
        print(f"bench: {str(failure) or type(failure).__name__}", file=sys.stderr)
        return 1
    print(json.dumps(summary(rounds, figures, about())) if as_json else table(rounds, figures))
    return 0


def _first(error: Exception) -> Exception:
    """Of several that came together, what was first."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
