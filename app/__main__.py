"""`python -m app --role all|api|im|rtc|worker`: one process of the hospital, set up by its environment.

Ends with 0 on SIGTERM or SIGINT after everything was let go of in order, with 2 and one line on settings that do not
make a hospital, with 1 and one line when a store cannot be reached.
"""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence

import uvloop

from app import logs, serving
from app.settings import BadSettings, Settings, read
from core.errors import AWAY

ROLES = ("all", "api", "im", "rtc", "worker")


async def run(settings: Settings, role: str) -> None:
    """Serve until a signal comes."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    process = await serving.start(settings, role)
    # What a start leaves behind lives as long as the process: a full collection that walks it again and again would
    # stop the loop for a tenth of a second each time.
    gc.collect()
    gc.freeze()
    try:
        await ended.wait()
    finally:
        await process.stop()


def main(arguments: Sequence[str]) -> int:
    """Read the command line and the environment, and serve."""
    parser = argparse.ArgumentParser(prog="python -m app", description="One process of the internet hospital.")
    parser.add_argument("--role", choices=ROLES, default="all")
    options = parser.parse_args(arguments)
    try:
        settings = read()
        logs.configure(settings.log_level)
        uvloop.run(run(settings, options.role))
    except BadSettings as error:
        sys.stderr.write(f"settings: {error}\n")
        return 2
    except AWAY as error:
        sys.stderr.write(f"a store cannot be reached: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
