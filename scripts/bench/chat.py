#!/usr/bin/env python3
"""How the chat stands against the simplest thing that could do its work: `python -m scripts.bench.chat`.

A hospital of role `all` on embedded stores, a bare Tornado websocket, and one `insert_one` a message are measured in
turn, round by round, on the loopback interface; what counts are the medians of their ratios. It takes about a minute a
round and ends by itself.
"""

import os
import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for those who run the file itself

from core import lag, tasks
from scripts.bench.command import Benchmark, main
from scripts.bench.figures import Figure, Rounds, percentile
from scripts.bench.ground import Ground, Target, bare_server, open_ground, paired, put_load
from scripts.bench.journal import Bench

SENDERS: Final = 64
IDLE_CONNECTIONS: Final = 10_000
# Opened before the first look at the memory, so that what a process sets up once is in neither side's growth.
WARM_CONNECTIONS: Final = 200
WARM_SECONDS: Final = 1.5
LOAD_SECONDS: Final = 4.0
# Longer than the heartbeat of `ground.SETTINGS`.
SETTLE_SECONDS: Final = 6.0
# Messages of each sender: two seconds or so of either side's work.
INSERTS_EACH: Final = 20
POSTS_EACH: Final = 80
SINGLE_INSERTS: Final = 400

FIGURES: Final = (
    Figure(
        "group_commit_ratio",
        f"messages a second through the journal over one insert_one each; {SENDERS} senders, each in a chat of its own",
        at_least=3.0,
    ),
    Figure("socket_ratio", "messages acknowledged a second through sockets over the same inserts"),
    Figure(
        "cpu_ratio_echo",
        f"server CPU of send, ack and push over that of a bare Tornado websocket; {SENDERS} pairs in a closed loop",
        at_most=4.0,
    ),
    Figure(
        "loop_lag_p99_ms",
        f"99th percentile of how late the server's event loop woke up while {SENDERS} pairs talked in a closed loop",
        at_most=20.0,
    ),
    Figure(
        "idle_memory_ratio",
        f"memory of an idle authenticated connection over a bare Tornado websocket's; {IDLE_CONNECTIONS} connections",
        at_most=1.6,
    ),
    Figure(
        "ack_p95_half_over_insert",
        f"p95 until the ack at half the highest rate, {SENDERS} senders, over the median insert_one of a single writer",
        at_most=12.0,
    ),
)
NAMES: Final = tuple(figure.name for figure in FIGURES)


async def one_round(ground: Ground, bench: Bench, wanted: Sequence[str], rounds: Rounds) -> None:
    """Every wanted figure once, each next to its baseline."""
    if {"group_commit_ratio", "socket_ratio", "ack_p95_half_over_insert"} & set(wanted):
        await _stores(bench, rounds)
    if {"socket_ratio", "cpu_ratio_echo", "loop_lag_p99_ms", "ack_p95_half_over_insert"} & set(wanted):
        await _talk(ground, wanted, rounds)
    if "idle_memory_ratio" in wanted:
        await _idle(ground, rounds)


async def _stores(bench: Bench, rounds: Rounds) -> None:
    inserted, _ = await bench.inserts(SENDERS, INSERTS_EACH)
    posted, post_ms = await bench.posts(SENDERS, POSTS_EACH)
    _, single_ms = await bench.inserts(1, SINGLE_INSERTS)
    rounds.note(
        group_commit_ratio=posted / inserted,
        inserts_per_second=inserted,
        posts_per_second=posted,
        post_p50_ms=post_ms,
        single_insert_p50_ms=single_ms,
    )


async def _talk(ground: Ground, wanted: Sequence[str], rounds: Rounds) -> None:
    app = await ground.fresh_app()
    pairs: dict[str, Any] = {"pairs": ground.pairs, "warm_seconds": WARM_SECONDS, "seconds": LOAD_SECONDS}
    own: list[float] = []
    probing = tasks.spawn("bench.lag", lag.probe(own.append))
    chat = await put_load(app, "closed", ground.seats, lag=True, **pairs)
    await tasks.stop(probing)
    rounds.note(
        loop_lag_p99_ms=chat.pop("loop_lag_p99_ms"),
        # Of this process, which does nothing meanwhile: what is late here the machine has to answer for.
        idle_loop_lag_p99_ms=percentile(own, 0.99) * 1000,
        **{f"chat_{name}": value for name, value in chat.items()},
    )
    if "socket_ratio" in wanted:
        rounds.note(socket_ratio=chat["acks_per_second"] / rounds.values["inserts_per_second"][-1])
    if "cpu_ratio_echo" in wanted:
        async with bare_server() as bare:
            echo = await put_load(bare, "closed", paired(ground.seats, ground.pairs), **pairs)
        rounds.note(
            cpu_ratio_echo=chat["cpu_ms_per_exchange"] / echo["cpu_ms_per_exchange"],
            echo_cpu_ms_per_exchange=echo["cpu_ms_per_exchange"],
            echo_acks_per_second=echo["acks_per_second"],
        )
    if "ack_p95_half_over_insert" in wanted:
        await _half(ground, app, chat["acks_per_second"] / 2, pairs, rounds)


async def _half(ground: Ground, app: Target, rate: float, pairs: dict[str, Any], rounds: Rounds) -> None:
    probe = ground.strangers(1)
    seats = [*ground.seats, *probe]
    half = await put_load(app, "open", seats, probe=len(ground.seats), rate=rate, lag=True, **pairs)
    rounds.note(
        ack_p95_half_over_insert=half["ack_p95_ms"] / rounds.values["single_insert_p50_ms"][-1],
        half_rate=rate,
        **{f"half_{name}": value for name, value in half.items() if name != "acks_per_second"},
    )


async def _idle(ground: Ground, rounds: Rounds) -> None:
    seats = ground.strangers(IDLE_CONNECTIONS + WARM_CONNECTIONS)
    how: dict[str, Any] = {"warm_seats": WARM_CONNECTIONS, "settle_seconds": SETTLE_SECONDS}
    idle = await put_load(await ground.fresh_app(), "idle", seats, **how)
    async with bare_server() as bare:
        echo = await put_load(bare, "idle", seats, **how)
    rounds.note(
        idle_memory_ratio=idle["bytes_per_connection"] / echo["bytes_per_connection"],
        **{f"idle_{name}": value for name, value in idle.items()},
        **{f"echo_idle_{name}": value for name, value in echo.items()},
    )


async def run(wanted: Sequence[str], count: int) -> Rounds:
    """So many rounds. BenchFailed, CannotStart or StartFailed when nothing can be measured here."""
    rounds = Rounds()
    async with open_ground(SENDERS) as ground, Bench.open(ground.mongo_uri, ground.redis_url) as bench:
        await bench.inserts(SENDERS, 2)
        await bench.posts(SENDERS, 2)
        for number in range(count):
            print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
            await one_round(ground, bench, wanted, rounds)
    return rounds


def about(count: int) -> dict[str, Any]:
    """What the figures were measured with."""
    return {
        "rounds": count,
        "senders": SENDERS,
        "idle_connections": IDLE_CONNECTIONS,
        "load_seconds": LOAD_SECONDS,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


BENCHMARK: Final = Benchmark("scripts.bench.chat", "The chat's figures.", FIGURES, NAMES, run, about)


if __name__ == "__main__":
    # Children inherit it: ten thousand sockets do not fit into most shells' limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(main(BENCHMARK, sys.argv[1:]))
