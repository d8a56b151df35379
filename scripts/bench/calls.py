#!/usr/bin/env python3
"""What a recorded call costs the server, beside aiortc's own relay and recorder: `python -m scripts.bench.calls`.

Each call is two clients of 640x480 VP8 at 1 Mbit/s and Opus, encoded beforehand and sent by processes of their own on
the loopback interface. It takes about a minute and a half a round and ends by itself.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for those who run the file itself

from core import tasks
from scripts.bench.call_client import Door, Plan
from scripts.bench.figures import Figure, Rounds, summary, table
from scripts.bench.sampling import cpu_seconds, resident_bytes

CALLS: Final = (1, 4, 16, 32)
WARM_SECONDS: Final = 3.0
LOAD_SECONDS: Final = 8.0
# One client process drives no more than this: it would be the client that is measured.
CALLS_A_CLIENT: Final = 16
CLIENT_SECONDS: Final = 240.0
CLIP_SECONDS: Final = 4

FIGURES: Final = (
    Figure(
        "stock_over_ours_1",
        "server CPU of one recorded call through aiortc's MediaRelay and MediaRecorder over ours",
        at_least=30.0,
    ),
    Figure("delivered_32", "packets that arrived of those sent, 32 recorded calls in one process", at_least=0.999),
    Figure("loop_lag_ms_32", "p99 of how late the server's loop is with a timer, 32 recorded calls", at_most=20.0),
)
NAMES: Final = tuple(figure.name for figure in FIGURES)


class BenchFailed(Exception):
    """A server or a client did not do what the load takes for granted; what was measured is worth nothing."""


def make_clip(path: Path, seconds: int = CLIP_SECONDS) -> None:
    """A moving picture with noise, which takes its megabit, and a voice-like tone."""
    with av.open(str(path), "w", format="webm") as clip:
        picture = clip.add_stream("libvpx", rate=30, options={"deadline": "realtime", "cpu-used": "8", "g": "60"})
        picture.width, picture.height, picture.pix_fmt, picture.bit_rate = 640, 480, "yuv420p", 1_000_000
        sound = clip.add_stream("libopus", rate=48_000, layout="stereo")
        sound.bit_rate = 32_000
        for number in range(seconds * 30):
            frame = av.VideoFrame(640, 480, "yuv420p")
            frame.planes[0].update(os.urandom(640) * 120 + bytes((number * 3 % 256,)) * 640 * 360)
            for plane in frame.planes[1:]:
                plane.update(bytes((100 + number % 50,)) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            clip.mux(picture.encode(frame))
        for number in range(seconds * 50):
            part = av.AudioFrame(format="s16", layout="stereo", samples=960)
            part.sample_rate, part.pts, part.time_base = 48_000, number * 960, Fraction(1, 48_000)
            part.planes[0].update(os.urandom(part.planes[0].buffer_size))
            clip.mux(sound.encode(part))
        clip.mux(picture.encode(None))
        clip.mux(sound.encode(None))


def _python(*arguments: str, **how: Any) -> Any:
    return asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, **how
    )


@asynccontextmanager
async def server(kind: str, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """A server process: its id and its port."""
    quiet = {"stderr": asyncio.subprocess.DEVNULL} if kind == "stock" else {}
    process = await _python("-m", "scripts.bench.call_server", kind, str(folder), **quiet)
    try:
        line = await process.stdout.readline()
        if not line:
            raise BenchFailed(f"the {kind} server did not start")
        yield process.pid, int(line)
        process.stdin.close()
        if kind == "ours" and await asyncio.wait_for(process.wait(), CLIENT_SECONDS):
            raise BenchFailed("recordings failed")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def measure(kind: str, calls: int, clip: Path) -> dict[str, float]:
    """One load on a fresh server."""
    with tempfile.TemporaryDirectory() as folder:
        async with server(kind, Path(folder)) as (pid, port), asyncio.timeout(CLIENT_SECONDS):
            names = [f"call{number}" for number in range(calls)]
            shares = [names[place : place + CALLS_A_CLIENT] for place in range(0, calls, CALLS_A_CLIENT)]
            plans = [Plan(port, str(clip), share, WARM_SECONDS, LOAD_SECONDS) for share in shares]
            clients = [await _python("-m", "scripts.bench.call_client") for _ in plans]
            try:
                return await _watch(clients, plans, pid, port)
            finally:
                for client in clients:
                    if client.returncode is None:
                        client.kill()
                        await client.wait()


async def _watch(clients: Sequence[Any], plans: Sequence[Plan], pid: int, port: int) -> dict[str, float]:
    """What the server spends between the last client's beginning and the first one's end of counting."""
    for client, plan in zip(clients, plans, strict=True):
        client.stdin.write(plan.to_json().encode())
        client.stdin.close()
    door = await Door.open(port)
    await asyncio.gather(*(_line(client, b"counting") for client in clients))
    begun, spent = asyncio.get_running_loop().time(), cpu_seconds(pid)
    # Only forgets what was before; a server that cannot keep up answers late.
    forgetting = tasks.spawn("bench.forget", door.ask(op="lag"))
    ends = [tasks.spawn("bench.end", _line(client, b"counted")) for client in clients]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    seconds, spent = asyncio.get_running_loop().time() - begun, cpu_seconds(pid) - spent
    memory = resident_bytes(pid)
    await forgetting
    lag = await door.ask(op="lag")
    await asyncio.gather(*ends)
    counted = [json.loads(await client.stdout.readline()) for client in clients]
    door.close()
    calls = sum(len(plan.calls) for plan in plans)
    return {
        "cpu_s_per_call_s": spent / seconds / calls,
        "delivered": sum(one["received"] for one in counted) / sum(one["sent"] for one in counted),
        "loop_lag_p99_ms": lag["p99_ms"],
        "server_mib": memory / 2**20,
    }


async def _line(client: Any, expected: bytes) -> None:
    line = await client.stdout.readline()
    if line.strip() != expected:
        raise BenchFailed("a client ended before its time")


async def one_round(clip: Path, counts: Sequence[int], wanted: Sequence[str], rounds: Rounds) -> None:
    """Every number of calls once, the single one next to aiortc's own way."""
    for calls in counts:
        ours = await measure("ours", calls, clip)
        rounds.note(**{f"{name}_{calls}": value for name, value in ours.items() if name != "delivered" or calls != 32})
        if calls == 1 and "stock_over_ours_1" in wanted:
            stock = await measure("stock", 1, clip)
            rounds.note(
                stock_over_ours_1=stock["cpu_s_per_call_s"] / ours["cpu_s_per_call_s"],
                **{f"stock_{name}_1": value for name, value in stock.items()},
            )
        if calls == 32:
            rounds.note(delivered_32=ours["delivered"], loop_lag_ms_32=ours["loop_lag_p99_ms"])


async def run(wanted: Sequence[str], counts: Sequence[int], count: int) -> Rounds:
    """So many rounds. Raises `BenchFailed`, or TimeoutError when a server or client hangs."""
    rounds = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.webm"
        make_clip(clip)
        for number in range(count):
            print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
            await one_round(clip, counts, wanted, rounds)
    return rounds


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 and one line when it cannot be measured."""
    parser = argparse.ArgumentParser(prog="scripts.bench.calls", description="The figures of calls.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--calls", action="append", type=int, choices=CALLS, help=f"of {CALLS}; default: all")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    counts = options.calls or CALLS
    try:
        rounds = uvloop.run(run(NAMES, counts, options.rounds))
    except (BenchFailed, TimeoutError, OSError) as error:
        print(f"bench: {error or 'a server or a client hung'}", file=sys.stderr)
        return 1
    about = {
        "rounds": options.rounds,
        "calls": list(counts),
        "load_seconds": LOAD_SECONDS,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps(summary(rounds, FIGURES, about)) if options.json else table(rounds, FIGURES))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
