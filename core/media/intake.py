"""From the bytes as they come to a medium that is ready: stored as they arrive, examined in the workshop, stored clean.

At every moment the medium's document names all that has been stored, and its state is `uploading` until everything is
in place; whatever happens, either the upload itself or the sweep (`core/media/jobs.py`) takes the rest away.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from core import metrics
from core.errors import Invalid, NotFound, ServiceUnavailable, is_away, refusal_of
from core.ids import new_id
from core.media import rules
from core.media.frames import Order, Unfit
from core.media.signatures import HEAD_BYTES, FileType
from core.media.workshop import Findings, WorkshopFull
from storage.media import Facts, Media

if TYPE_CHECKING:
    from core.context import Context
    from storage.files import FileWriter

log = structlog.get_logger()

_BUSY_SECONDS: Final = 10


class Intake:
    """One upload: `take` every chunk, then `finish`; or `abandon`. After a refusal nothing is left or taken.

    `declared` is the Content-Type, `announced` the Content-Length, 0 where there is none.
    """

    def __init__(self, ctx: "Context", *, owner: str, declared: str, announced: int = 0) -> None:
        self._ctx, self._owner, self._declared, self._announced = ctx, owner, declared, announced
        self._turn = asyncio.Lock()  # a lost connection is told while a chunk may still be on its way to the store
        self._head = bytearray()
        self._received = 0
        self._media: Media | None = None
        self._writer: FileWriter | None = None
        self._is_over = False

    async def take(self, chunk: bytes) -> None:
        """Store a chunk; returns when the next may come. `TooLarge`, `UnsupportedMedia` as soon as they are known."""
        async with self._turn:
            if self._is_over:
                return
            try:
                await self._take(chunk)
            except BaseException as error:
                self._count(error)
                await self._drop()
                raise

    async def finish(self) -> Media:
        """The ready medium. `Invalid` for an empty or a broken one; `overloaded` when too many wait to be examined."""
        async with self._turn:
            try:
                media = await self._finish()
            except BaseException as error:
                self._count(error)
                await self._drop()
                raise
            self._count(None)
            self._is_over = True
            return media

    async def abandon(self) -> None:
        """Nobody waits for the answer any more: leave nothing, not even a medium just finished that nobody can name."""
        async with self._turn:
            if not self._is_over:
                metrics.UPLOADS.labels("abandoned").inc()
            await self._drop()

    def _count(self, error: BaseException | None) -> None:
        if self._is_over:
            return
        refusal = refusal_of(error) if isinstance(error, Exception) else None
        metrics.UPLOADS.labels("ready" if error is None else refusal.code if refusal else "failed").inc()

    async def _take(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._media is not None and self._writer is not None:
            rules.require_size(self._received, self._media["kind"], self._ctx.policy)
            await self._writer.write(chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            await self._begin()

    async def _begin(self) -> tuple[Media, "FileWriter"]:
        found = rules.require_type(bytes(self._head[:HEAD_BYTES]), self._declared)
        rules.require_size(max(self._received, self._announced), found.kind, self._ctx.policy)
        media = await begin(self._ctx, media_id=new_id(), owner=self._owner, found=found)
        self._media = media
        writer = await self._ctx.files.open_upload(rules.raw_file(media["_id"]), at=media["created_at"])
        self._writer = writer
        await writer.write(bytes(self._head))
        self._head.clear()
        return media, writer

    async def _finish(self) -> Media:
        if not self._received:
            raise Invalid.field("body", "文件内容为空")
        if self._media is None or self._writer is None:
            media, writer = await self._begin()
        else:
            media, writer = self._media, self._writer
        await writer.finish()
        raw = rules.raw_file(media["_id"])
        facts = await clean(self._ctx, media, self._received, await self._ctx.files.open_range(raw))
        await self._ctx.files.delete(raw)
        return await complete(self._ctx, media, facts)

    async def _drop(self) -> None:
        self._is_over = True
        self._head.clear()
        if self._media is not None:
            await discard(self._ctx, self._media["_id"])


async def begin(ctx: "Context", *, media_id: str, owner: str, found: FileType) -> Media:
    """The document of an upload that has shown what it is."""
    media = Media(
        _id=media_id,
        owner=owner,
        status="uploading",
        kind=found.kind,
        type=found.name,
        mime=found.mime,
        size=0,
        sha256="",
        width=None,
        height=None,
        duration=None,
        thumbnail_size=None,
        readers=[],
        visits=[],
        created_at=ctx.clock.now(),
        ready_at=None,
        retain_until=None,
    )
    await ctx.media.add(media)
    return media


async def complete(ctx: "Context", media: Media, facts: Facts) -> Media:
    """The ready medium; `NotFound` when the sweep discarded it meanwhile: the caller then discards it."""
    now = ctx.clock.now()
    if not await ctx.media.make_ready(media["_id"], facts, at=now):
        raise NotFound
    log.info("media.ready", media=media["_id"], account=media["owner"], type=media["type"], size=facts["size"])
    return {**media, **facts, "status": "ready", "ready_at": now}


async def clean(ctx: "Context", media: Media, size: int, pieces: AsyncGenerator[bytes, None]) -> Facts:
    """Examine the `size` raw bytes that `pieces` gives, and store the clean ones with their thumbnail.

    Raises what it was refused for, and what `pieces` does; the caller then discards the medium.
    """
    writer = _Measured(await ctx.files.open_upload(rules.file_of(media["_id"], "original"), at=media["created_at"]))
    findings: Findings | None = None
    async with aclosing(pieces):
        if media["kind"] == "file":
            async for piece in pieces:
                await writer.write(piece)
        else:
            findings = await _examine(ctx, media, size, pieces, writer)
    await writer.finish()
    if findings is not None:
        thumbnail = await ctx.files.open_upload(rules.file_of(media["_id"], "thumbnail"), at=media["created_at"])
        await thumbnail.write(findings.thumbnail)
        await thumbnail.finish()
    return Facts(
        size=writer.size,
        sha256=writer.sha256,
        width=findings.width if findings else None,
        height=findings.height if findings else None,
        duration=findings.duration if findings else None,
        thumbnail_size=len(findings.thumbnail) if findings else None,
    )


async def _examine(
    ctx: "Context", media: Media, size: int, pieces: AsyncIterator[bytes], writer: "_Measured"
) -> Findings:
    order = Order(type=media["type"], size=size, pixels=ctx.policy.media_image_pixels)
    try:
        return await ctx.workshop.examine(order, pieces, writer.write)
    except Unfit as unfit:
        raise rules.refusal(unfit.why, media["kind"]) from unfit
    except WorkshopFull as full:
        raise ServiceUnavailable(code="overloaded", retry_after=_BUSY_SECONDS) from full


async def discard(ctx: "Context", media_id: str) -> None:
    """Take an unwanted medium away with all its files; one that has been attached to a visit stays.

    With the store away it is left to the sweep. The document goes last: by it the sweep finds the files.
    """
    try:
        if not await ctx.media.discard(media_id):
            return
        for file_id in rules.files_of(media_id):
            await ctx.files.delete(file_id)
        await ctx.media.remove(media_id)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("media.discard_later", media=media_id, error=type(error).__name__)


class _Measured:
    """A file writer that counts and digests what passes: 0.2 ms a piece of 256 KiB, which needs no thread."""

    def __init__(self, writer: "FileWriter") -> None:
        self._writer = writer
        self._digest = hashlib.sha256()
        self.size = 0

    async def write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.size += len(piece)
        await self._writer.write(piece)

    async def finish(self) -> None:
        await self._writer.finish()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()
