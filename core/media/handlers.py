"""REST of media: uploading in a stream, reading whole or in part, signed links."""

import asyncio
from contextlib import aclosing
from typing import Any, Final

import structlog
from tornado.iostream import StreamClosedError

from core import tasks
from core.auth import ANYONE, EVERY_ROLE
from core.errors import AppError, TooLarge
from core.http import DRAINED_BODY, ApiHandler, Limit, endpoint
from core.media import ranges, rules, service
from core.media.intake import Intake
from core.media.rules import Variant
from core.media.schemas import ANY_TYPE, PARTIAL, RANGE_PARAMETERS, UNCHANGED, AskLink, LinkView, MediaView, SignedQuery
from core.policy import MIB

log = structlog.get_logger()

# The highest any setting may say of the largest upload; the settings themselves are checked apart.
LARGEST_BODY: Final = 2048 * MIB
UPLOADS: Final = Limit("media.upload", "uploads_per_hour", 3600)
# A video of the default largest size at 1 Mbit/s, the slowest upload worth waiting for.
UPLOAD_SECONDS: Final = 30 * 60
# A reader that takes nothing for so long has gone away without saying so.
STALLED_SECONDS: Final = 60
# The bytes of a medium never change; only who may see them does, so that a browser asks again after an hour.
FRESH_SECONDS: Final = 3600


class StreamHandler(ApiHandler):
    """A door whose body is taken as it comes; a refusal in the middle of it is answered when its client reads."""

    def initialize(self) -> None:
        """Nothing has been refused yet."""
        super().initialize()
        self._refused: Exception | None = None
        self._unwanted = 0

    async def take(self, chunk: bytes) -> None:
        """Do with a chunk what is to be done, here collect it; the next is read from the network afterwards."""
        super().data_received(chunk)

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]  # Tornado waits for what it returns
        """Take the chunk. After a refusal what comes is thrown away."""
        if self._finished:
            return
        if self._refused is not None:
            self._unwanted += len(chunk)
        else:
            try:
                await self.take(chunk)
            except Exception as error:  # answered at the end of the body, or here when that is far away
                self._refused = error
        # A client that is still sending sees a refusal best when we have read it to its end; not for ever, though.
        if self._refused is not None and max(self._unwanted, self._announced()) > DRAINED_BODY:
            refused = (type(self._refused), self._refused, self._refused.__traceback__)
            self.log_exception(*refused)
            self.send_error(500, exc_info=refused)  # 500 for a bug; a refusal brings its own status

    def require_taken(self) -> None:
        """Raise what a chunk was refused for."""
        if self._refused is not None:
            raise self._refused


class UploadHandler(StreamHandler):
    """A new medium from a raw body, which goes to the store piece by piece as it comes."""

    max_body = LARGEST_BODY

    def initialize(self) -> None:
        """Nothing has been taken yet."""
        super().initialize()
        self._intake: Intake | None = None

    async def prepare(self) -> None:
        """Refuse by the announced length what no kind may have, before anything else; then as every door."""
        try:
            rules.require_any_size(self._announced(), self.ctx.policy)
        except TooLarge:
            await self.drain()
            raise
        self.request.connection.set_body_timeout(UPLOAD_SECONDS)  # type: ignore[union-attr]  # as in core.http: HTTP/1
        await super().prepare()
        declared = self.request.headers.get("Content-Type", "")
        self._intake = Intake(self.ctx, owner=self.caller.id, declared=declared, announced=self._announced())

    async def take(self, chunk: bytes) -> None:
        """Store the chunk."""
        if self._intake is not None:
            await self._intake.take(chunk)

    def on_connection_close(self) -> None:
        """The client is gone before it had its answer: leave nothing."""
        super().on_connection_close()
        if self._intake is not None:
            tasks.spawn("media.abandon", self._intake.abandon())

    @endpoint(
        roles=EVERY_ROLE,
        summary="上传图片、视频或文件",
        reads=ANY_TYPE,
        answer=MediaView(),
        status=201,
        errors=("too_large", "unsupported_media", "invalid", "overloaded", "unavailable"),
        limits=(UPLOADS,),
    )
    async def post(self) -> Any:
        """The raw bytes as body, their type told by themselves; answers when they are examined, cleaned and stored."""
        self.require_taken()
        if self._intake is None:
            raise RuntimeError("prepare did not run")
        return service.view(await self._intake.finish())


class ContentHandler(ApiHandler):
    """What all doors to bytes share: conditions, one range, streaming, headers that keep content from being a page."""

    def initialize(self) -> None:
        """The size is told with a 416."""
        super().initialize()
        self._size: int | None = None

    def compute_etag(self) -> None:
        """Ours is the digest of the bytes, not of what has been written so far."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """As everywhere; a range outside the file is told how long the file is (RFC 9110 §15.5.17)."""
        if self._size is not None:
            self.set_header("Content-Range", f"bytes */{self._size}")
        super().write_error(status_code, **kwargs)

    async def serve(self, content: service.Content, *, fresh_seconds: int = FRESH_SECONDS) -> None:
        """Answer GET and HEAD: 200, 206, 304 or 416."""
        self._describe(content, fresh_seconds)
        headers = self.request.headers
        if ranges.is_unchanged(headers.get("If-None-Match"), content.etag):
            self.set_status(304)
            return
        span = None
        if self.request.method == "GET" and ranges.is_range_valid(headers.get("If-Range"), content.etag):
            span = self._span(headers.get("Range"), content.size)
        start, stop = (span.start, span.stop) if span else (0, content.size)
        if span is not None:
            self.set_status(206)
            self.set_header("Content-Range", span.content_range(content.size))
        self.set_header("Content-Length", str(stop - start))
        if self.request.method == "GET":
            await self._stream(content.file_id, await service.read(self.ctx, content, start, stop))

    def _describe(self, content: service.Content, fresh_seconds: int) -> None:
        self.set_header("Content-Type", content.mime)
        self.set_header("Content-Disposition", content.disposition)
        self.set_header("ETag", content.etag)
        self.set_header("Accept-Ranges", "bytes")
        # Two people at one browser share its cache, but not a token.
        self.set_header("Cache-Control", f"private, max-age={fresh_seconds}")
        self.set_header("Vary", "Authorization")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
        self.set_header("Cross-Origin-Resource-Policy", "same-site")

    def _span(self, header: str | None, size: int) -> ranges.Span | None:
        try:
            return ranges.parse(header, size)
        except ranges.Unsatisfiable as error:
            self._size = size
            raise AppError(code="range_not_satisfiable") from error

    async def _stream(self, file_id: str, pieces: Any) -> None:
        async with aclosing(pieces):
            try:
                async for piece in pieces:
                    self.write(piece)
                    await asyncio.wait_for(self.flush(), STALLED_SECONDS)
            except (StreamClosedError, TimeoutError) as error:
                log.info("media.reader_gone", file=file_id, request=self.request_id, why=type(error).__name__)
                self.request.connection.close()  # type: ignore[union-attr]  # as in core.http: HTTP/1


class MediaHandler(ContentHandler):
    """The medium itself."""

    @endpoint(
        roles=EVERY_ROLE,
        summary="读取媒体",
        media_type=ANY_TYPE,
        parameters=RANGE_PARAMETERS,
        responses=PARTIAL,
        errors=("not_found", "range_not_satisfiable"),
    )
    async def get(self, media_id: str) -> None:
        """For its owner and those in the visits it belongs to."""
        await self.serve_to_caller(media_id, "original")

    @endpoint(roles=EVERY_ROLE, summary="读取媒体信息", media_type=ANY_TYPE, errors=("not_found",), responses=UNCHANGED)
    async def head(self, media_id: str) -> None:
        """The headers of GET."""
        await self.serve_to_caller(media_id, "original")

    async def serve_to_caller(self, media_id: str, variant: Variant) -> None:
        """For those who may see it; for all others there is no such medium."""
        media = await service.require_readable(self.ctx, media_id=media_id, account=self.caller.id)
        await self.serve(service.content_of(media, variant))


class ThumbnailHandler(MediaHandler):
    """The small JPEG of an image, or of a video's first frame."""

    @endpoint(
        roles=EVERY_ROLE,
        summary="读取缩略图",
        media_type="image/jpeg",
        parameters=RANGE_PARAMETERS,
        responses=PARTIAL,
        errors=("not_found", "range_not_satisfiable"),
    )
    async def get(self, media_id: str) -> None:
        """As the medium; files have none."""
        await self.serve_to_caller(media_id, "thumbnail")

    @endpoint(
        roles=EVERY_ROLE, summary="读取缩略图信息", media_type="image/jpeg", errors=("not_found",), responses=UNCHANGED
    )
    async def head(self, media_id: str) -> None:
        """The headers of GET."""
        await self.serve_to_caller(media_id, "thumbnail")


class LinksHandler(ApiHandler):
    """Addresses for `<img>` and `<video>`, which send no token."""

    @endpoint(roles=EVERY_ROLE, summary="获取签名链接", body=AskLink(), answer=LinkView(), errors=("not_found",))
    async def post(self, media_id: str, body: dict[str, Any]) -> Any:
        """Good for this variant, in the name of this account, for at most five minutes."""
        return await service.link(self.ctx, media_id=media_id, account=self.caller.id, variant=body["variant"])


class SignedContentHandler(ContentHandler):
    """The other end of a signed link."""

    @endpoint(
        roles=ANYONE,
        summary="通过签名链接读取媒体",
        query=SignedQuery(),
        media_type=ANY_TYPE,
        parameters=RANGE_PARAMETERS,
        responses=PARTIAL,
        errors=("forbidden", "not_found", "range_not_satisfiable"),
    )
    async def get(self, media_id: str, query: dict[str, Any]) -> None:
        """Whether the account may still see it is asked again at every use."""
        await self._serve_granted(media_id, query)

    @endpoint(
        roles=ANYONE,
        summary="通过签名链接读取媒体信息",
        query=SignedQuery(),
        media_type=ANY_TYPE,
        errors=("forbidden", "not_found"),
        responses=UNCHANGED,
    )
    async def head(self, media_id: str, query: dict[str, Any]) -> None:
        """The headers of GET."""
        await self._serve_granted(media_id, query)

    async def _serve_granted(self, media_id: str, query: dict[str, Any]) -> None:
        media = await service.require_granted(self.ctx, media_id=media_id, **query)
        remaining = int(query["expires"] - self.ctx.clock.now().timestamp())
        await self.serve(service.content_of(media, query["variant"]), fresh_seconds=max(0, remaining))


_MEDIA: Final = r"/api/v1/media/([0-9A-HJKMNP-TV-Z]{26})"

ROUTES = [
    (r"/api/v1/media", UploadHandler),
    (_MEDIA, MediaHandler),
    (rf"{_MEDIA}/thumbnail", ThumbnailHandler),
    (rf"{_MEDIA}/links", LinksHandler),
    (rf"{_MEDIA}/content", SignedContentHandler),
]
