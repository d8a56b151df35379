"""Key files that a simulator makes once and our side reads: what the vendor's console would have given out."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_or_make(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON object in the file; made, readable by its owner alone, when there is none. Whoever is first wins."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as draft:
                json.dump(make(), draft, ensure_ascii=False, indent=2)
                draft.write("\n")
                draft.flush()
                os.fsync(draft.fileno())
            with contextlib.suppress(FileExistsError):  # another simulator made it meanwhile: read that one
                os.link(name, file)  # never overwrites, and the file is whole from the start
        finally:
            os.unlink(name)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
