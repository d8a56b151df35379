"""Key files that a simulator makes once and our side reads: what the vendor's console would have given out."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_or_make(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON object in the file; made, readable by its owner alone, when there is none. Whoever is first wins.

    What the file of an earlier version lacks is added to it; what it holds stays.
    """
    if not file.exists():
        _write(file, make(), os.link)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    completed = _completed(content, make())
    if completed != content:
        _write(file, completed, os.replace)
    return completed


def _completed(kept: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    added = {name: value for name, value in made.items() if name not in kept}
    inner = {
        name: _completed(value, made[name])
        for name, value in kept.items()
        if isinstance(value, dict) and isinstance(made.get(name), dict)
    }
    return {**kept, **inner, **added}


def _write(file: Path, content: dict[str, Any], put: Callable[[str, Path], None]) -> None:
    """A whole file from the start, put into its place by `put`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as draft:
            json.dump(content, draft, ensure_ascii=False, indent=2)
            draft.write("\n")
            draft.flush()
            os.fsync(draft.fileno())
        with contextlib.suppress(FileExistsError):  # another simulator made it meanwhile: read that one
            put(name, file)
    finally:
        with contextlib.suppress(FileNotFoundError):  # it is the file itself by now
            os.unlink(name)
