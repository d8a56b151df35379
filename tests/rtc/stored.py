"""Recordings of calls in the file store, for tests that are about what is done with them."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.context import Context
from rtc import parts
from rtc.digests import digest
from rtc.media import Manifest, Moment, Segment, Side
from rtc.segments import Sample, SegmentFile

ROOM = "0123456789abcdef"


def write_segment(folder: Path, name: str, samples: list[Sample], began_at: Any, offset: float = 0.0) -> Segment:
    """A real file of such a name, as its manifest describes it."""
    file = SegmentFile(folder / name, samples)
    file.write(samples)
    file.close()
    side: Side = "doctor" if name.startswith("doctor") else "patient"
    found = digest(folder / name)
    generation = int(name.split("-")[1])
    return Segment(side, generation, name, found.size, began_at, offset, file.duration, found.sha256, found.sm3)


async def keep_room(ctx: Context, call_id: str, folder: Path, segments: list[Segment], room: str = ROOM) -> None:
    """As the collector leaves it: files in the store, the manifest in the call."""
    now = ctx.clock.now()
    for one in segments:
        await ctx.files.put(parts.file_of(call_id, room, one.name), folder / one.name, at=now)
    (folder / "manifest.json").write_text("{}")
    await ctx.files.put(parts.file_of(call_id, room, "manifest.json"), folder / "manifest.json", at=now)
    began_at = min((one.started_at for one in segments), default=now)
    moment = Moment(0.0, "doctor", "joined", 1)
    await ctx.calls.expect_recording(call_id, room, process="p1", at=now)
    manifest = Manifest(call_id, began_at, tuple(segments), (moment,))
    await ctx.calls.keep_recording(call_id, room, asdict(manifest), at=now)


async def keep_film(ctx: Context, call_id: str, data: bytes, *, pictures: int = 25) -> str:
    """A film of these bytes, which need be none; its id in the store."""
    now, file_id = ctx.clock.now(), parts.film_of(call_id, "made")
    writer = await ctx.files.open_upload(file_id, at=now)
    await writer.write(data)
    await writer.finish()
    film = {
        "next_at": None,
        "claim": None,
        "attempts": 1,
        "error": None,
        "file": file_id,
        "segments": 0,
        "made_at": now,
        "size": len(data),
        "duration": 1.0,
        "pictures": pictures,
        "sha256": hashlib.sha256(data).hexdigest(),
        "sm3": "0" * 64,
    }
    await ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": {"film": film}})
    return file_id
