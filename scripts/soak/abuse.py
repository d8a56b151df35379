"""Ten thousand abusive inputs against one process: `python -m scripts.soak.abuse [--inputs N] [--json]`.

Uploads, resumable uploads, frames of the websocket and payment notifications, a quarter each, made and judged as the
suite does (`tests/abuse/test_leaks.py`). Exit status 1 when something was left behind or grew with the inputs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.bootstrap import ROOT

INPUTS: Final = "ABUSE_INPUTS"
FIGURES: Final = "ABUSE_FIGURES"
TEST: Final = "tests/abuse/test_leaks.py"


def run(inputs: int, figures: Path) -> int:
    """The exit status of the test with so many inputs; what it measured is then in the file."""
    environment = {**os.environ, INPUTS: str(inputs), FIGURES: str(figures)}
    command = [sys.executable, "-m", "pytest", "-q", "--show-capture=no", "-o", "timeout=3600", TEST]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=sys.stderr).returncode


def table(figures: Mapping[str, Any]) -> str:
    """What people read."""
    rows = [f"{figures['sent']} inputs, of which {figures['measured']} were measured after warming up"]
    rows += [
        f"{name:12} {grown:+12} {figures['by_input'][name]:+10} an input" for name, grown in figures["grown"].items()
    ]
    rows += [f"left: {name:6} {count:12}" for name, count in figures["orphans"].items()]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        status = run(given.inputs, file)
        if file.exists():
            figures = json.loads(file.read_text(encoding="utf-8"))
            print(json.dumps(figures) if given.json else table(figures))
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
