"""Act the whole consultation against a running hospital and print each step with its time.

`scripts/walkthrough [--url URL] [consultation]`. Ends with 1 at the first thing that is not as promised. The hospital
and its simulators are found through the run file that `scripts/server` leaves in its data folder.
"""

import argparse
import asyncio
import inspect
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from scripts.acting import Outside
from scripts.demo import DEMO_PASSWORDS
from scripts.story import CONSULTATION, Stage, Step

STORIES: Final[Mapping[str, tuple[Step, ...]]] = {"consultation": CONSULTATION}
DOCTOR: Final = "guhuaijin"


async def walk(story: Sequence[Step], url: str, simulators: Mapping[str, str]) -> bool:
    """Act the story; whether all of it was as promised."""
    async with httpx.AsyncClient(timeout=30) as http:
        stage = Stage(http, url, Outside(http, **simulators), DOCTOR, DEMO_PASSWORDS["doctor"])
        try:
            for step in story:
                if not await _passes(step, stage):
                    return False
        finally:
            await stage.close()
    return True


async def _passes(step: Step, stage: Stage) -> bool:
    name = step.__name__.replace("_", " ")
    began = time.monotonic()
    try:
        await step(stage)
    except Exception as error:  # whatever it is, the hospital did not do what it promises
        print(f"  ✗ {name}: {type(error).__name__}: {error}")
        return False
    promise = (inspect.getdoc(step) or "").splitlines()[0]
    print(f"  ✓ {(time.monotonic() - began) * 1000:6.0f} ms  {name:<34} {promise}")
    return True


def main(arguments: Sequence[str]) -> int:
    """Read the command line and walk."""
    parser = argparse.ArgumentParser(prog="scripts/walkthrough", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", help="the hospital; default: where scripts/server listens")
    parser.add_argument("--run-file", type=Path, default=Path("var/running.json"), help="what scripts/server wrote")
    parser.add_argument("story", nargs="*", choices=[[], *STORIES], default=[], help="default: all stories")
    options = parser.parse_args(arguments)
    try:
        run = json.loads(options.run_file.read_text(encoding="utf-8"))
        url, simulators = (options.url or run["url"]).rstrip("/"), run["simulators"]
    except (OSError, ValueError, KeyError):
        print(f"no running hospital: {options.run_file} cannot be read; start scripts/server first", file=sys.stderr)
        return 1
    for name in options.story or STORIES:
        print(f"{name} · {url}")
        if not asyncio.run(walk(STORIES[name], url, simulators)):
            return 1
    print("as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
