"""Uploads that go on where a lost connection left them, in this process or another, until they are a medium.

What is stored is what is acknowledged: a piece is durable before anybody is told of it, and where the next begins is
read off the stored pieces (`storage/pieces.py`). A whole upload is examined like one that came in one go
(`core/media/intake.py`); whoever does it claims it first, and when they die another does it anew.
"""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from core.errors import AWAY, AppError, Conflict, NotFound, ServiceUnavailable
from core.ids import new_id
from core.media import intake
from core.media import rules as media_rules
from core.media import service as media_service
from core.media.signatures import HEAD_BYTES, FileType
from core.uploads import rules
from storage.pieces import PIECE_BYTES, PieceMissing
from storage.uploads import Upload, UploadStatus

if TYPE_CHECKING:
    from core.context import Context
    from storage.media import Media

log = structlog.get_logger()

# Four times what the workshop may take for one file. Two that examine the same one do no harm, only work.
CLAIM: Final = timedelta(seconds=120)
# What passes by itself, and what a client may be told at all.
_PASSING: Final[tuple[type[BaseException], ...]] = (ServiceUnavailable, *AWAY)
_EXPECTED: Final[tuple[type[BaseException], ...]] = (AppError, *AWAY)
UNFINISHED: Final[tuple[UploadStatus, ...]] = ("open", "received")


async def create(ctx: "Context", *, owner: str, length: int, metadata: str) -> Upload:
    """A new upload of so many bytes. `TooLarge` and `UnsupportedMedia` as far as they can be told already."""
    declared = rules.declared_type(metadata)
    media_rules.require_announced(declared, length, ctx.policy)
    now = ctx.clock.now()
    upload = Upload(
        _id=new_id(),
        owner=owner,
        status="open",
        length=length,
        offset=0,
        declared=declared,
        metadata=metadata,
        media_id=None,
        attempts=[],
        claimed_until=now,
        created_at=now,
        expires_at=rules.expiry(now, ctx.policy),
    )
    await ctx.uploads.add(upload)
    return upload


async def require_own(ctx: "Context", *, upload_id: str, owner: str) -> Upload:
    """The upload as it stands, its offset that of the stored bytes. `NotFound`; `gone` when it is over."""
    upload = await ctx.uploads.get(upload_id)
    if upload is None or upload["owner"] != owner:
        raise NotFound
    if rules.is_over(upload, ctx.clock.now()):
        raise AppError(code="gone")
    return await _settled(ctx, upload) if upload["status"] == "open" else {**upload, "offset": upload["length"]}


async def _settled(ctx: "Context", upload: Upload) -> Upload:
    """The upload with what a writer stored that died before noting it."""
    offset = await ctx.pieces.end(upload["_id"], upload["offset"])
    if offset > upload["offset"]:
        await ctx.uploads.advance(upload["_id"], offset)
    if offset == upload["length"]:
        await ctx.uploads.receive(upload["_id"], at=ctx.clock.now())
        return {**upload, "offset": offset, "status": "received"}
    return {**upload, "offset": offset}


async def medium_of(ctx: "Context", upload: Upload) -> "Media | None":
    """What the upload has become; None: it is not whole yet, or still being examined."""
    if upload["status"] != "ready" or upload["media_id"] is None:
        return None
    return await ctx.media.get(upload["media_id"])


async def view(ctx: "Context", upload: Upload) -> dict[str, Any]:
    """An upload as `UploadView` dumps it."""
    medium = await medium_of(ctx, upload)
    return {**upload, "id": upload["_id"], "medium": media_service.view(medium) if medium else None}


async def terminate(ctx: "Context", *, upload_id: str, owner: str) -> None:
    """Free what the upload holds. A medium that it has become already stays."""
    upload = await require_own(ctx, upload_id=upload_id, owner=owner)
    # In this order, in which it goes through its states, none of them is missed.
    if not await drop(ctx, upload):
        await ctx.uploads.discard(upload_id, "ready")


async def drop(ctx: "Context", upload: Upload) -> bool:
    """Take an unwanted upload's bytes away, unless it has become a medium or is over; whether that was done.

    Its document stays for a while to tell those who ask, and late writers.
    """
    for status in UNFINISHED:
        if await ctx.uploads.discard(upload["_id"], status):
            await sweep(ctx, upload)
            return True
    return False


async def sweep(ctx: "Context", upload: Upload) -> None:
    """Delete everything an upload has stored but the medium it became."""
    await ctx.pieces.delete(upload["_id"])
    kept = upload["media_id"] if upload["status"] == "ready" else None
    for media_id in upload["attempts"]:
        if media_id != kept:
            await _take_back(ctx, media_id)


async def _take_back(ctx: "Context", media_id: str) -> None:
    """Leave nothing of a medium begun in vain, not even what its maker stored after somebody had discarded it."""
    await intake.discard(ctx, media_id)
    if await ctx.media.get(media_id) is None:
        for file_id in media_rules.files_of(media_id):
            await ctx.files.delete(file_id)


class Continuation:
    """One PATCH: `take` every chunk, then `finish`; or `keep` what has come when the connection is lost."""

    def __init__(self, ctx: "Context", upload: Upload) -> None:
        self._ctx, self._upload = ctx, upload
        self._turn = asyncio.Lock()  # a lost connection is told while a chunk may still be on its way to the store
        self._at = upload["offset"]
        self._pending = bytearray()
        self._is_over = False

    async def take(self, chunk: bytes) -> None:
        """Store what has become a whole piece; returns when the next chunk may come.

        `wrong_offset` when another goes on at the same place, `gone`, `TooLarge`, `UnsupportedMedia`.
        """
        async with self._turn:
            if self._is_over:
                return
            try:
                rules.require_room(self._upload, self._at + len(self._pending) + len(chunk))
                self._pending += chunk
                while len(self._pending) >= PIECE_BYTES:
                    await self._store(PIECE_BYTES)
            except BaseException:
                self._end()
                raise

    async def finish(self) -> Upload:
        """The upload with all that came stored; when that was the last of it, examined, and the medium ready.

        Beside what `take` raises, what a medium may be refused for; `in_progress` when another is examining it.
        """
        await self._flush()
        upload: Upload = {**self._upload, "offset": self._at}
        return await complete(self._ctx, upload) if self._at == upload["length"] else upload

    async def keep(self) -> None:
        """Store what came before the connection was lost."""
        try:
            if await self._flush() and self._at == self._upload["length"]:
                await complete(self._ctx, self._upload)
        except _EXPECTED as error:  # nobody is there to be told; who comes back will be
            log.info("upload.not_kept", upload=self._upload["_id"], error=type(error).__name__)

    async def _flush(self) -> bool:
        """Store the rest and take no more; False: that has been done."""
        async with self._turn:
            if self._is_over:
                return False
            try:
                await self._store(len(self._pending))
            finally:
                self._end()
            return True

    def _end(self) -> None:
        self._is_over = True
        self._pending.clear()

    async def _store(self, length: int) -> None:
        if not length:
            return
        upload_id, begun = self._upload["_id"], self._at
        if not await self._ctx.pieces.add(upload_id, begun, bytes(self._pending[:length])):
            raise Conflict(code="wrong_offset")
        del self._pending[:length]
        self._at += length
        if not await self._ctx.uploads.advance(upload_id, self._at):
            await self._require_wanted()
        if begun < HEAD_BYTES:
            await self._require_head()

    async def _require_wanted(self) -> None:
        """No longer open: whole, because somebody saw that before us; or ended, and then our piece must go, too."""
        upload = await self._ctx.uploads.get(self._upload["_id"])
        if upload is None or upload["status"] in ("discarded", "ready"):
            await self._ctx.pieces.delete(self._upload["_id"])
            raise AppError(code="gone")

    async def _require_head(self) -> None:
        """Refuse what will be refused as soon as its first bytes show it."""
        if self._at < min(HEAD_BYTES, self._upload["length"]):
            return
        try:
            await _require_taken(self._ctx, self._upload)
        except PieceMissing as error:  # it has been ended meanwhile
            raise AppError(code="gone") from error
        except AppError:
            await drop(self._ctx, self._upload)
            raise


async def _require_taken(ctx: "Context", upload: Upload) -> FileType:
    head = bytearray()
    async with aclosing(ctx.pieces.read(upload["_id"], min(HEAD_BYTES, upload["length"]))) as pieces:
        async for piece in pieces:
            head += piece
    found = media_rules.require_type(bytes(head), upload["declared"])
    media_rules.require_size(upload["length"], found.kind, ctx.policy)
    return found


async def complete(ctx: "Context", upload: Upload) -> Upload:
    """Examine an upload whose bytes are all there; as `ready`. Repeatable: who comes later gets the same medium.

    Raises what it was refused for, and then nothing of it is left; `in_progress` while another examines it; `gone`.
    """
    now, media_id = ctx.clock.now(), new_id()
    await ctx.uploads.receive(upload["_id"], at=now)
    if await ctx.uploads.claim(upload["_id"], media_id, at=now, until=now + CLAIM):
        try:
            await _examine(ctx, upload["_id"], media_id)
        except PieceMissing:
            if await _stands(ctx, upload["_id"], media_id):
                raise
    return await _outcome(ctx, upload["_id"])


async def _outcome(ctx: "Context", upload_id: str) -> Upload:
    upload = await ctx.uploads.get(upload_id)
    if upload is None or upload["status"] == "discarded":
        raise AppError(code="gone")
    if upload["status"] != "ready":
        raise Conflict("文件正在检查中", code="in_progress")
    return {**upload, "offset": upload["length"]}


async def _stands(ctx: "Context", upload_id: str, media_id: str) -> bool:
    """Whether the upload is still ours to examine; otherwise its pieces are gone because it is over."""
    upload = await ctx.uploads.get(upload_id)
    return upload is not None and (upload["status"], upload["media_id"]) == ("received", media_id)


async def _examine(ctx: "Context", upload_id: str, media_id: str) -> None:
    """Make the medium of an upload we have claimed, in place of those that others before us left half made."""
    upload = await ctx.uploads.get(upload_id)
    if upload is None:
        return
    for earlier in upload["attempts"]:
        if earlier != media_id:
            await _take_back(ctx, earlier)
    try:
        await _make(ctx, upload, media_id)
    except NotFound:  # we were too slow: another has claimed the upload since, and discarded our medium
        return
    except _PASSING:
        await _release(ctx, upload_id, media_id)
        raise
    except AppError:
        await drop(ctx, upload)
        raise
    if await ctx.uploads.make_ready(upload_id, media_id):
        await ctx.pieces.delete(upload_id)
    else:
        await _take_back(ctx, media_id)


async def _make(ctx: "Context", upload: Upload, media_id: str) -> None:
    media = await intake.begin(ctx, media_id=media_id, owner=upload["owner"], found=await _require_taken(ctx, upload))
    try:
        pieces = ctx.pieces.read(upload["_id"], upload["length"])
        facts = await intake.clean(ctx, media, upload["length"], pieces)
        await intake.complete(ctx, media, facts)
    except BaseException:
        await _take_back(ctx, media_id)
        raise


async def _release(ctx: "Context", upload_id: str, media_id: str) -> None:
    try:
        await ctx.uploads.release(upload_id, media_id, at=ctx.clock.now())
    except AWAY as error:  # then the claim runs out by itself
        log.warning("upload.release_later", upload=upload_id, error=type(error).__name__)
