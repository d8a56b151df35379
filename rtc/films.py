"""The films of calls: ordered when everything is collected, made by the worker one after the other.

A film takes longer than a duty may, so it is claimed by compare-and-set with a lease that its maker renews: one whose
maker died is due again when the lease ends, and nothing else of its call waits for it.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import tasks
from core.compliance import years_later
from core.errors import AWAY
from core.ids import new_id
from core.outbox import MAX_ATTEMPTS, next_try
from rtc import metrics, parts
from rtc.compose import CompositionFailed, compose, pieces_of
from rtc.digests import digest
from rtc.media import Manifest, Segment
from rtc.recording import lock_folder
from storage.calls import Call
from storage.files import FileDamaged, FileMissing

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

LEASE_SECONDS: Final = 120.0
RENEW_SECONDS: Final = 30.0
_FOLDER: Final = "hospital-film-"


async def settle(ctx: "Context", call_id: str, *, complete: bool = False) -> None:
    """Order the film of a call that is over and collected, or (`complete`: no more will come) of what there is."""
    call: Call | None = await ctx.calls.get(call_id)
    if call is None or not (parts.is_collected(call) or (complete and call["status"] == "ended")):
        return
    film = parts.film_to_make(call, ctx.clock.now())
    if film is not None:
        await ctx.calls.order_film(call_id, film, seen=call["film"])


async def compose_due(ctx: "Context") -> int:
    """Make the films that are due, one after the other; how many were made. Several workers may do it at once."""
    await asyncio.to_thread(_clear_left_behind)
    made = 0
    while due := await ctx.calls.films_due(ctx.clock.now(), 1):
        made += await _try(ctx, due[0])
    return made


async def _try(ctx: "Context", call: Call) -> bool:
    film, token, now = call["film"], new_id(), ctx.clock.now()
    if film is None or film["next_at"] is None:
        return False
    until = now + timedelta(seconds=LEASE_SECONDS)
    if not await ctx.calls.claim_film(call["_id"], seen=film["next_at"], token=token, until=until):
        return False
    if film["claim"] is not None:  # whoever had it died, perhaps with a film in the store that nobody knows of
        await ctx.files.delete(parts.film_of(call["_id"], film["claim"]))
    if film["attempts"] >= MAX_ATTEMPTS:
        await _failed(ctx, call, token, CompositionFailed("its makers died"))
        return False
    try:
        async with _renewed(ctx, call["_id"], token):
            values = await _make(ctx, call, token)
    except AWAY as error:  # the lease ends by itself
        log.warning("call.film_waits", call=call["_id"], error=type(error).__name__)
    except (CompositionFailed, FileMissing, FileDamaged, OSError) as error:
        await _failed(ctx, call, token, error)
    else:
        return await _keep(ctx, call, token, values)
    return False


@asynccontextmanager
async def _renewed(ctx: "Context", call_id: str, token: str) -> AsyncIterator[None]:
    """The claim is renewed meanwhile; TimeoutError once it is another's or could not be renewed in time."""
    async with asyncio.timeout(LEASE_SECONDS) as limit:

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                until = ctx.clock.now() + timedelta(seconds=LEASE_SECONDS)
                try:
                    is_ours = await ctx.calls.write_film(call_id, token, {"next_at": until})
                except AWAY as error:
                    log.warning("call.film_not_renewed", call=call_id, error=type(error).__name__)
                    continue
                lasts = LEASE_SECONDS if is_ours else 0.0
                limit.reschedule(asyncio.get_running_loop().time() + lasts)
                if not is_ours:
                    return

        renewing = tasks.spawn("call.film_claim", renew())
        try:
            yield
        finally:
            await tasks.stop(renewing)


async def _make(ctx: "Context", call: Call, token: str) -> dict[str, Any]:
    async with _folder() as folder:
        found = list(parts.segments(call))
        await _fetch(ctx, call, folder)
        manifests = [
            (Manifest(call["_id"], part["began_at"], _segments(part), ()), folder / room)
            for room, part in call["recordings"].items()
            if part["segments"]
        ]
        target = folder / "film.mp4"
        film = await compose(pieces_of(manifests), target)
        digests = await asyncio.to_thread(digest, target)
        now = ctx.clock.now()
        kept = parts.metadata(call, years_later(now, ctx.policy.retain_call_years))
        file_id = parts.film_of(call["_id"], token)
        await ctx.files.put(file_id, target, at=now, metadata=kept)
    return {
        "file": file_id,
        "segments": len(found),
        "made_at": now,
        "size": digests.size,
        "duration": film.duration,
        "pictures": film.pictures,
        "sha256": digests.sha256,
        "sm3": digests.sm3,
        "error": None,
    }


def _segments(part: dict[str, Any]) -> tuple[Segment, ...]:
    return tuple(Segment(**one) for one in part["segments"])


async def _fetch(ctx: "Context", call: Call, folder: Path) -> None:
    for room, one in parts.segments(call):
        (folder / room).mkdir(exist_ok=True)
        await ctx.files.fetch(parts.file_of(call["_id"], room, one["name"]), folder / room / one["name"])


async def _keep(ctx: "Context", call: Call, token: str, values: dict[str, Any]) -> bool:
    film = call["film"]
    if not await ctx.calls.write_film(call["_id"], token, {**values, "claim": None, "next_at": None}):
        await ctx.files.delete(values["file"])
        metrics.FILMS.labels("overtaken").inc()
        return False
    if film is not None and film["file"] is not None:
        await ctx.files.delete(film["file"])
    metrics.FILMS.labels("done").inc()
    log.info("call.film_made", call=call["_id"], seconds=values["duration"], size=values["size"])
    return True


async def _failed(ctx: "Context", call: Call, token: str, error: Exception) -> None:
    film = call["film"]
    attempts = film["attempts"] + 1 if film is not None else MAX_ATTEMPTS
    again = next_try(attempts, ctx.clock.now())
    values: dict[str, Any] = {"next_at": again, "claim": None, "error": type(error).__name__}
    if again is None:  # of so many segments there is none to be had; a further one that comes is another film
        values["segments"] = sum(1 for _ in parts.segments(call))
    await ctx.calls.write_film(call["_id"], token, values)
    metrics.FILMS.labels("failed" if again else "given_up").inc()
    report = log.warning if again else log.error
    report("call.film_failed" if again else "call.film_given_up", call=call["_id"], error=str(error))


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    """A folder for this process alone, whose lock tells that it lives; taken away in the end."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_FOLDER))
    lock = await asyncio.to_thread(lock_folder, folder)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)
        os.close(lock)


def _clear_left_behind() -> None:
    """What is said in a call stays on no disk because a worker was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        try:
            lock = lock_folder(folder)
        except OSError:  # it lives, is gone by now, or is another user's
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
