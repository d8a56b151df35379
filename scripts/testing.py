"""`scripts/test [--system] [pytest arguments]`: the suite, and with --system also what needs Debian's packages.

System suites are processes of their own: a browser driven from the same process would take the event loop of every
test after it. They run first, so that the summary of the whole suite closes the output.

The whole suite runs in several processes beside each other, each with stores of its own; what arguments pick out runs
in one, where its output is seen at once.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.bootstrap import ROOT, CannotStart


@dataclass(frozen=True)
class SystemSuite:
    """Tests that need programs pip cannot bring: the folder, the programs, and the packages they come in."""

    name: str
    folder: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]


# A file's tests stay together, because they share a database. More processes than this would only start more stores.
AT_ONCE: Final = min(os.cpu_count() or 1, 4)
BESIDE: Final = ("-n", str(AT_ONCE), "--dist", "loadfile")
SUITES: Final = (
    SystemSuite("browser", "tests/e2e", ("chromium",), ("chromium", "fonts-noto-cjk")),
    SystemSuite("relay", "tests/relay", ("chromium", "turnserver"), ("chromium", "coturn")),
)


def present(root: Path, suites: Sequence[SystemSuite] = SUITES) -> list[SystemSuite]:
    """The system suites that this tree has."""
    return [suite for suite in suites if (root / suite.folder).is_dir()]


def ensure_packages(suite: SystemSuite) -> None:
    """Install what the suite needs and the machine lacks; CannotStart where that is not to be had."""
    if all(shutil.which(program) for program in suite.programs):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotStart(f"the {suite.name} tests need {' '.join(suite.packages)}: install them as root")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *suite.packages]):
        if subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0:
            raise CannotStart(f"the {suite.name} tests need {' '.join(suite.packages)}, which apt-get did not install")


def pytest(root: Path, *arguments: str) -> int:
    """Its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=root, check=False).returncode


def run_system(root: Path, suites: Sequence[SystemSuite]) -> int:
    """The first failing exit status of the suites, or 0."""
    statuses = []
    for suite in suites:
        ensure_packages(suite)
        statuses.append(pytest(root, "-p", "no:tornado", suite.folder))
    return next(filter(None, statuses), 0)


def main(arguments: Sequence[str]) -> int:
    """Run the system suites where asked, then pytest with all other arguments; 0 when all have passed."""
    given = [argument for argument in arguments if argument != "--system"]
    suites = present(ROOT)
    failed = 0
    try:
        if "--system" in arguments:
            if not suites:
                print("--system adds the browser and relay tests; this version has none yet", flush=True)
            failed = run_system(ROOT, suites)
        for suite in suites if "--system" not in arguments else ():
            print(f"not run: the {suite.name} tests ({suite.folder}); scripts/test --system runs them", flush=True)
    except CannotStart as error:
        print(f"scripts/test: {error}", file=sys.stderr)
        return 1
    ignored = [f"--ignore={suite.folder}" for suite in SUITES]
    return pytest(ROOT, *ignored, *(given or BESIDE)) or failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
