"""Children that open files of strangers: all that they get to know of the process that starts them."""

import os
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
# No secrets, no addresses of stores.
_PASSED_ON: Final = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


def environment() -> dict[str, str]:
    """The environment of such a child, in which our modules can be imported."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {"PYTHONPATH": str(_ROOT), "MALLOC_ARENA_MAX": "2"}
