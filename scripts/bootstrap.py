"""From a bare Python to the project's own environment in `.venv`, with the standard library alone.

`scripts/server`, `scripts/test` and `scripts/check` begin here, on whatever Python the machine has; so this file keeps
to what Python 3.7 can read, to be able to say that it is too old. An environment that is complete is used as it is:
a stamp in it holds the digest of everything that was asked for.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NEWER_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
# What a Python built or packaged without some library lacks, and the server needs.
NEEDED_MODULES = ("ctypes", "hashlib", "lzma", "sqlite3", "ssl", "venv", "zlib")
STAMP = "installed.json"
INSTALL_LOG = "install.log"


class CannotStart(Exception):
    """Why there is nothing to run; the message is one line for the person at the terminal."""


def run(program: str, module: str, extras: Sequence[str]) -> None:
    """Replace this process by `module` in an environment with these extras, its arguments passed on.

    Ends with one line on standard error and 1 where that cannot be.
    """
    try:
        require_python()
        python = ensure_environment(ROOT, extras)
    except CannotStart as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    os.environ["PYTHONPATH"] = str(ROOT)
    sys.stdout.flush()
    # -P: what lies in the caller's working directory must not be taken for a module of ours.
    os.execv(str(python), [str(python), "-P", "-m", module, *sys.argv[1:]])  # noqa: S606  # no shell is wanted


def require_python() -> None:
    """Goes on in a newer Python of this machine where this one is too old; CannotStart says what is missing."""
    if sys.version_info[:2] < OLDEST:
        newer = next(filter(None, map(shutil.which, NEWER_NAMES)), None)
        if newer is None:
            raise CannotStart(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {platform.python_version()}")
        os.execv(newer, [newer, *sys.argv])  # noqa: S606  # no shell is wanted
    missing = [name for name in NEEDED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(f"{sys.executable} was built without {', '.join(missing)}; use a full Python (python3-full)")


def wanted(root: Path, extras: Sequence[str]) -> list[str]:
    """The requirements of setup.cfg, with those of the extras."""
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    texts = [parser["options"]["install_requires"], *(parser["options.extras_require"][extra] for extra in extras)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def digest(root: Path, extras: Sequence[str]) -> str:
    """Changes when an installation would bring something else."""
    parts = [*wanted(root, sorted(extras)), (root / "constraints.txt").read_text(encoding="utf-8")]
    return hashlib.sha256("\n".join([*parts, platform.python_version()]).encode()).hexdigest()


def ensure_environment(root: Path, extras: Sequence[str]) -> Path:
    """The interpreter of `.venv`, which is made, completed or left alone as needed; two callers take turns.

    What an earlier call asked for stays: the union of both is installed. CannotStart when it cannot be had.
    """
    venv = root / ".venv"
    python = venv / "bin" / "python"
    turn = os.open(str(root), os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        stamp = _read_stamp(venv)
        extras = sorted({*extras, *stamp.get("extras", [])})
        if stamp.get("digest") == digest(root, extras) and _works(python):
            return python
        if not _works(python):
            make(venv)
        (venv / STAMP).unlink(missing_ok=True)
        install(root, venv, extras)
        (venv / STAMP).write_text(json.dumps({"digest": digest(root, extras), "extras": extras}), encoding="utf-8")
    except OSError as error:
        raise CannotStart(f"the environment {venv} cannot be made: {error}") from error
    finally:
        os.close(turn)
    return python


def make(venv: Path) -> None:
    """An empty environment with pip, in place of whatever is there."""
    _say(f"Making the environment {venv}")
    if importlib.util.find_spec("ensurepip") is not None and _venv(venv):
        return
    if not _venv(venv, "--without-pip"):
        raise CannotStart("python3 -m venv failed: install python3-venv")
    from scripts.pip_bootstrap import add_pip  # only here: it needs the network

    add_pip(venv / "bin" / "python")


def install(root: Path, venv: Path, extras: Sequence[str]) -> None:
    """Exactly the versions of constraints.txt; CannotStart with pip's own last word."""
    _say("Installing what the hospital needs (once, about a minute)")
    log = venv / INSTALL_LOG
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--constraint", str(root / "constraints.txt"), *wanted(root, extras)]
    with log.open("wb") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        raise CannotStart(f"pip failed ({lines[-1] if lines else done.returncode}); all it said is in {log}")


def _venv(venv: Path, *options: str) -> bool:
    command = [sys.executable, "-m", "venv", "--clear", *options, str(venv)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _works(python: Path) -> bool:
    """Whether the environment's interpreter runs, is new enough, and has pip."""
    if not python.exists():
        return False
    question = f"import sys, pip; sys.exit(sys.version_info[:2] < {OLDEST})"
    return subprocess.run([str(python), "-c", question], capture_output=True, check=False).returncode == 0


def _read_stamp(venv: Path) -> dict[str, Any]:
    try:
        stamp: dict[str, Any] = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
