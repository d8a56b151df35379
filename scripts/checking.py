"""`scripts/check`: all static checks, two at a time; every failure is listed, and any makes the exit status 1."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from scripts.bootstrap import ROOT
from scripts.checks import features, mirror

AT_ONCE: Final = 2
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Check:
    """A name, and what answers one line for everything that is wrong."""

    name: str
    wrong: Callable[[], list[str]]


@dataclass(frozen=True)
class Outcome:
    """What a check found, in how many seconds."""

    name: str
    wrong: list[str]
    seconds: float


def checks(root: Path) -> list[Check]:
    """All of them, the slowest first."""
    return [
        Check("types (mypy)", partial(complaints, root, "-m", "mypy")),
        Check("generated documents (scripts.specs)", partial(complaints, root, "-m", "scripts.specs", "--check")),
        Check("import rules (import-linter)", partial(complaints, root, str(_BIN / "lint-imports"), "--no-cache")),
        Check("style (ruff check)", partial(complaints, root, "-m", "ruff", "check", ".", *executables(root))),
        Check(
            "form (ruff format)", partial(complaints, root, "-m", "ruff", "format", "--check", ".", *executables(root))
        ),
        Check("mirrored tests", partial(mirror.check, root)),
        Check("docs/features.md", partial(features.check, root)),
    ]


def executables(root: Path) -> list[str]:
    """The Python programs in scripts/ whose names do not say that they are."""
    candidates = [file for file in sorted((root / "scripts").iterdir()) if file.is_file() and not file.suffix]
    return [
        str(file.relative_to(root)) for file in candidates if file.read_bytes().startswith(b"#!/usr/bin/env python3")
    ]


def complaints(root: Path, *arguments: str) -> list[str]:
    """What a program of this environment says when it fails; nothing when it ends with 0."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    return [*done.stdout.splitlines(), *done.stderr.splitlines()] or [f"exit status {done.returncode}"]


def run(check: Check) -> Outcome:
    """One check; one that breaks has failed."""
    began = time.monotonic()
    try:
        wrong = check.wrong()
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
    return Outcome(check.name, wrong, time.monotonic() - began)


def main(arguments: Sequence[str]) -> int:
    """Run them all, show each as it ends, in their order."""
    if arguments:
        print("usage: scripts/check", file=sys.stderr)
        return 2
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(run, checks(ROOT)):
            print(f"{'FAILED' if outcome.wrong else 'ok':<7} {outcome.name} ({outcome.seconds:.1f} s)", flush=True)
            for line in outcome.wrong:
                print(f"        {line}", flush=True)
            failed += [outcome.name] if outcome.wrong else []
    print(f"failed: {', '.join(failed)}" if failed else "all checks pass", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
