"""From the segments of a call one film: a niced child process decodes and encodes, this side only waits.

What is composed can be composed again: the segments are the record, the film is for watching.
"""

import asyncio
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.children import environment
from core.policy import MIB
from rtc.media import Manifest, Side

# Address space, not use: decoders of two sides and one encoder of 1280x480 were measured below 600 MiB.
MEMORY_BYTES: Final = 1536 * MIB
# Encoding takes a third of a second of processor time for a second of a call; niced, it may have to wait for it.
CPU_SECONDS_A_SECOND: Final = 3.0
WALL_SECONDS_A_SECOND: Final = 12.0
LEAST_SECONDS: Final = 60.0
_SAID_BYTES: Final = 300


class CompositionFailed(Exception):
    """The child died, took too long or could not read the segments; the target was not made. It may be tried again."""


@dataclass(frozen=True)
class Piece:
    """One segment's file and where it belongs in the film, in seconds."""

    side: Side
    path: Path
    offset: float
    duration: float


@dataclass(frozen=True)
class Film:
    """What was made: seconds, frames of picture (0 for sound only) and bytes."""

    duration: float
    pictures: int
    size: int


def pieces_of(manifests: Sequence[tuple[Manifest, Path]]) -> list[Piece]:
    """The segments of all processes that carried a call, on one time line; each manifest with its segments' folder."""
    began_at = min(manifest.began_at for manifest, _ in manifests)
    pieces = [
        Piece(one.side, folder / one.name, max(0.0, (one.started_at - began_at).total_seconds()), one.duration)
        for manifest, folder in manifests
        for one in manifest.segments
    ]
    return sorted(pieces, key=lambda piece: (piece.offset, piece.side))


async def compose(pieces: Sequence[Piece], target: Path) -> Film:
    """Make `target` in one step: MP4 with H264, the doctor on the left, and both voices as AAC; or only the voices.

    Raises `CompositionFailed`.
    """
    if not pieces:
        raise CompositionFailed("nothing was recorded")
    length = max(piece.offset + piece.duration for piece in pieces)
    fresh = target.with_name(f"{target.name}.new")
    order = {
        "pieces": [{"side": one.side, "path": str(one.path), "offset": one.offset} for one in pieces],
        "target": str(fresh),
    }
    try:
        said = await _child(json.dumps(order).encode(), length)
        film = Film(size=fresh.stat().st_size, **json.loads(said))
        fresh.replace(target)
    except (ValueError, TypeError) as error:
        raise CompositionFailed("the child did not answer") from error
    finally:
        fresh.unlink(missing_ok=True)
    return film


async def _child(order: bytes, length: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rtc.composing",
        str(MEMORY_BYTES),
        str(math.ceil(LEAST_SECONDS + CPU_SECONDS_A_SECOND * length)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        cwd="/",
        start_new_session=True,  # the terminal's Ctrl-C is the parent's business
    )
    try:
        async with asyncio.timeout(LEAST_SECONDS + WALL_SECONDS_A_SECOND * length):
            said, complaints = await process.communicate(order)
    except TimeoutError as error:
        raise CompositionFailed("took too long") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = complaints[-_SAID_BYTES:].decode(errors="replace").strip().rpartition("\n")[2]
        raise CompositionFailed(f"ended with {process.returncode}: {reason}")
    return said
