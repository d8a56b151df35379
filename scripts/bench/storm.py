#!/usr/bin/env python3
"""What happens when a process with thousands of sockets dies: `python -m scripts.bench.storm`.

The im process is killed with -9 and started again; its clients come back by the client's rules, and meanwhile another
process goes on answering REST on the same machine. With `--together` the same is done with one process of role `all`,
where REST dies and comes back with the sockets. Times are reported and no gate; the ratio is of the same run.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for those who run the file itself

from core import tasks
from scripts.bench.command import publish
from scripts.bench.crowd import Guests
from scripts.bench.figures import Figure, Rounds, percentile
from scripts.bench.ground import BenchFailed, strangers
from scripts.bench.prober import Asked, Prober
from scripts.bootstrap import ROOT
from scripts.processes import LOOPBACK, mortal
from scripts.returning import LONGEST_SECONDS
from scripts.roles import Roles, load_accounts, open_roles

CLIENTS: Final = 2_000
# One request is under way at a time: well below what a small machine answers, so that they do not queue by themselves.
PROBES_PER_SECOND: Final = 20.0
IDLE_SECONDS: Final = 10.0
BACK_SECONDS: Final = 180.0
PATH: Final = "/api/v1/visits"
# Which part has the sockets and which answers REST.
APART: Final = ({"im": "im", "api": "api"}, "im", "api")
TOGETHER: Final = ({"all": "all"}, "all", "all")

FIGURES: Final = (
    Figure("rest_p99_ratio", "p99 of a list over REST from the kill until all are back, over the idle p99"),
    Figure("back_seconds", "from the kill until every client has a socket again"),
    Figure("dead_seconds", "of these, until the new process is ready"),
    Figure("shed", "connections turned away with 4013 and a time to come back"),
    Figure("rest_away_seconds", "longest time without an answer over REST from the kill until all are back"),
    Figure("together_back_seconds", "back_seconds where one process does everything"),
    Figure("together_rest_away_seconds", "rest_away_seconds there: as long as the process is dead"),
)


@asynccontextmanager
async def crowd(guests: Guests) -> AsyncIterator[asyncio.StreamReader]:
    """The clients as a process of their own; a line is read from it each time all of them are in."""
    process = await asyncio.create_subprocess_exec(
        *mortal([sys.executable, "-m", "scripts.bench.crowd"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(guests.to_json().encode())
        process.stdin.write_eof()
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def all_in(lines: asyncio.StreamReader) -> dict[str, int]:
    """Wait until all clients are in; what they met on the way. BenchFailed when that takes too long."""
    try:
        async with asyncio.timeout(BACK_SECONDS):
            line = await lines.readline()
    except TimeoutError:
        raise BenchFailed(f"not all clients came in within {BACK_SECONDS:.0f} s") from None
    if not line:
        raise BenchFailed("the clients ended")
    met: dict[str, int] = json.loads(line)
    return met


async def storm(roles: Roles, sockets: str, lines: asyncio.StreamReader, prober: Prober) -> dict[str, float]:
    """One kill, from a quiet time until everybody is back."""
    loop = asyncio.get_running_loop()
    prober.take()
    await asyncio.sleep(IDLE_SECONDS)
    idle = prober.take()
    killed_at = loop.time()
    await roles.kill(sockets)
    reviving = tasks.spawn("storm.revive", _ready_at(roles, sockets))
    met = await all_in(lines)
    back_seconds = loop.time() - killed_at
    stormy = prober.take()
    dead_seconds = await reviving - killed_at
    return figures_of(idle, stormy, met) | {"back_seconds": back_seconds, "dead_seconds": dead_seconds}


async def _ready_at(roles: Roles, name: str) -> float:
    await roles.revive(name)
    return asyncio.get_running_loop().time()


def figures_of(idle: Asked, stormy: Asked, met: Mapping[str, int]) -> dict[str, float]:
    """What the two stretches of time say. BenchFailed when REST was not answered in a quiet time."""
    if not idle.latencies or idle.failures:
        raise BenchFailed(f"REST was not answered in a quiet time: {idle.failures} failures")
    measured = {
        "rest_idle_p50_ms": statistics.median(idle.latencies) * 1000,
        "rest_idle_p99_ms": percentile(idle.latencies, 0.99) * 1000,
        "rest_failures": float(stormy.failures),
        "rest_away_seconds": stormy.longest_gap,
        "shed": float(met["shed"]),
        "in_vain": float(met["in_vain"]),
    }
    if stormy.latencies:
        measured["rest_storm_p50_ms"] = statistics.median(stormy.latencies) * 1000
        measured["rest_storm_p99_ms"] = percentile(stormy.latencies, 0.99) * 1000
        measured["rest_p99_ratio"] = measured["rest_storm_p99_ms"] / measured["rest_idle_p99_ms"]
    return measured


async def storms(
    where: tuple[Mapping[str, str], str, str], clients: int, count: int, *, longest: float = LONGEST_SECONDS
) -> AsyncIterator[dict[str, float]]:
    """So many storms over one hospital with these processes; nobody waits longer than `longest` between two tries."""
    processes, sockets, rest = where
    async with AsyncExitStack() as stack:
        roles = await stack.enter_async_context(open_roles(processes, LOG_LEVEL="warning"))
        [patient, _] = await load_accounts(roles.env, patients=1, doctors=1)
        guests = Guests(LOOPBACK, roles.ports[sockets], strangers(roles.env, clients), longest)
        lines = await stack.enter_async_context(crowd(guests))
        prober = Prober(roles.ports[rest], PATH, patient["token"], per_second=PROBES_PER_SECOND)
        probing = tasks.spawn("storm.probe", prober.run())
        stack.push_async_callback(tasks.stop, probing)
        await all_in(lines)
        for number in range(count):
            print(f"storm {number + 1} of {count} on {', '.join(processes)}", file=sys.stderr, flush=True)
            yield await storm(roles, sockets, lines, prober)


async def run(clients: int, count: int, *, together: bool) -> Rounds:
    """All rounds. BenchFailed, CannotStart or StartFailed when nothing can be measured here."""
    rounds = Rounds()
    async for measured in storms(APART, clients, count):
        rounds.note(**measured)
    if together:
        async for measured in storms(TOGETHER, clients, count):
            rounds.note(**{f"together_{name}": value for name, value in measured.items()})
    return rounds


def about(clients: int, count: int) -> dict[str, Any]:
    """What the figures were measured with."""
    return {
        "clients": clients,
        "rounds": count,
        "probes_per_second": PROBES_PER_SECOND,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 and one line when it cannot be measured."""
    parser = argparse.ArgumentParser(prog="scripts.bench.storm", description="All clients come back at once.")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"default: {CLIENTS}")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--together", action="store_true", help="also with one process of role all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.clients < 1 or options.rounds < 1:
        parser.error("--clients and --rounds must be at least 1")
    # Children inherit it: thousands of sockets do not fit into most shells' limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    running = run(options.clients, options.rounds, together=options.together)
    return publish(running, FIGURES, lambda: about(options.clients, options.rounds), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
