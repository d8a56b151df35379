"""A recording's manifest as the file that lies beside its segments."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rtc.media import Manifest, Moment, Segment, Side

NAME: Final = "manifest.json"


@dataclass(frozen=True)
class Unfinished:
    """A segment that is being written: what a crash leaves without length and digests."""

    side: Side
    generation: int
    name: str
    started_at: datetime
    offset: float


@dataclass(frozen=True)
class Draft:
    """A manifest with the segments that are not closed yet."""

    manifest: Manifest
    unfinished: tuple[Unfinished, ...] = ()


def save(folder: Path, draft: Draft) -> None:
    """Replace the folder's manifest in one step, so that a crash leaves the old one or the new one. Raises OSError."""
    given = asdict(draft.manifest) | {"unfinished": [asdict(one) for one in draft.unfinished]}
    fresh = folder / f"{NAME}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(given, file, default=datetime.isoformat)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / NAME)


def load(folder: Path) -> Draft:
    """What `save` wrote. Raises OSError, or ValueError for a file that is no manifest."""
    try:
        given = json.loads((folder / NAME).read_text(encoding="utf-8"))
        manifest = Manifest(
            call=given["call"],
            began_at=datetime.fromisoformat(given["began_at"]),
            segments=tuple(Segment(**_dated(one)) for one in given["segments"]),
            timeline=tuple(Moment(**one) for one in given["timeline"]),
        )
        return Draft(manifest, tuple(Unfinished(**_dated(one)) for one in _list(given["unfinished"])))
    except (KeyError, TypeError) as error:
        raise ValueError("no manifest") from error


def _list(given: Any) -> Sequence[dict[str, Any]]:
    if not isinstance(given, list):
        raise TypeError("a list is wanted")
    return given


def _dated(given: dict[str, Any]) -> dict[str, Any]:
    return given | {"started_at": datetime.fromisoformat(given["started_at"])}
