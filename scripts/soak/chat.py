#!/usr/bin/env python3
"""Whether the chat loses anything while everything under it is killed again and again: `python -m scripts.soak.chat`.

Two im processes, one api, one worker and both stores are killed with -9 in turn, sockets are cut at random, and the
members talk all the time. Afterwards every conversation is compared: what the store holds, what was acknowledged, and
what each member, a reader over REST and one who comes last have heard. Ends with 1 when anything was lost, duplicated,
misordered or gapped, with 2 when it came to no verdict.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for those who run the file itself

from scripts.bootstrap import CannotStart
from scripts.embedded import StartFailed
from scripts.soak.flow import SoakFailed
from scripts.soak.trial import Course, Outcome, run

MESSAGES: Final = 1_000_000
CONVERSATIONS: Final = 16
# A blow every few seconds on a small machine, so that the chat runs at its pace in between.
CALM: Final = 2_000
SECONDS: Final = 6 * 3_600.0


def text(course: Course, outcome: Outcome) -> str:
    """For people."""
    verdict = outcome.verdict
    lines = [
        f"{outcome.messages} messages acknowledged in {course.conversations} conversations in {outcome.seconds:.0f} s, "
        f"seed {course.seed}",
        "killed: " + ", ".join(f"{name} {times}" for name, times in outcome.kills.items()),
        "seen: " + ", ".join(f"{name} {times}" for name, times in outcome.counted.items()),
        f"lost {verdict.lost}, duplicated {verdict.duplicated}, misordered {verdict.misordered}, "
        f"gapped {verdict.gapped}",
    ]
    return "\n".join([*lines, *(f"fault: {fault}" for fault in outcome.faults[:20])])


def document(course: Course, outcome: Outcome) -> str:
    """For programs: one JSON object."""
    return json.dumps({**asdict(outcome.verdict), **asdict(outcome), "course": asdict(course)})


def main(arguments: Sequence[str]) -> int:
    """Run and print; see the module for the exit status."""
    parser = argparse.ArgumentParser(prog="scripts.soak.chat", description="Whether the chat loses anything.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"at least so many (default: {MESSAGES})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="say nothing new after so long")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS, help=f"default: {CONVERSATIONS}")
    parser.add_argument("--calm", type=int, default=CALM, help=f"most acknowledged between two kills (default: {CALM})")
    parser.add_argument("--rounds", type=int, default=2, help="every part is killed at least so often (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="of the chances; printed, by default a new one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if min(options.messages, options.conversations, options.calm, options.rounds) < 1 or options.seconds <= 0:
        parser.error("messages, conversations, calm, rounds and seconds are positive")
    course = Course(
        seed=options.seed if options.seed is not None else secrets.randbelow(1_000_000),
        messages=options.messages,
        rounds=options.rounds,
        conversations=options.conversations,
        calm=options.calm,
        seconds=options.seconds,
    )
    print(f"seed {course.seed}", file=sys.stderr, flush=True)
    try:
        outcome = uvloop.run(run(course, tell=lambda said: print(said, file=sys.stderr, flush=True)))
    except (SoakFailed, CannotStart, StartFailed) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    print(document(course, outcome) if options.json else text(course, outcome))
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
