"""REST of resumable uploads: tus 1.0.0, core with creation, expiration and termination."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

from core import tasks
from core.auth import ANYONE, EVERY_ROLE
from core.http import MAX_BODY, Limit, endpoint
from core.media.handlers import LARGEST_BODY, UPLOAD_SECONDS, UPLOADS, StreamHandler
from core.media.rules import largest
from core.uploads import rules, service
from core.uploads.schemas import ASKS_LENGTH, ASKS_METADATA, ASKS_OFFSET, ASKS_VERSION, UploadView, tells

PARTS: Final = Limit("media.upload_part", "upload_parts_per_hour", 3600)
# What a client that cannot send PATCH or DELETE may ask for in a POST (tus 1.0.0, X-HTTP-Method-Override).
_OVERRIDES: Final = ("PATCH", "DELETE")


class TusHandler(StreamHandler):
    """What both doors share: the version of the protocol, required of every request and told in every answer."""

    max_body: int = MAX_BODY

    def set_default_headers(self) -> None:
        """Refusals, too, say which version they are of."""
        super().set_default_headers()
        self.set_header("Tus-Resumable", rules.VERSION)
        self.set_header("Tus-Version", rules.VERSION)

    async def prepare(self) -> None:
        """As every door; then nothing of another version is even looked at."""
        await super().prepare()
        await self.admit(self.require_version)

    async def require_version(self) -> None:
        """OPTIONS is how a client learns which it is."""
        if self.request.method != "OPTIONS":
            rules.require_version(self.request.headers.get("Tus-Resumable"))

    async def admit(self, required: Callable[[], Awaitable[None]]) -> None:
        """What else must hold before the body is read; a refusal lets the body go by first."""
        try:
            await required()
        except Exception:
            await self.drain()
            raise

    @endpoint(
        roles=ANYONE,
        summary="查询续传能力",
        responses=tells(204, "支持的版本、扩展和大小", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
    )
    async def options(self, *_: str) -> None:
        """Which version and extensions of tus there are, and how large a file may be."""
        self.set_header("Tus-Extension", rules.EXTENSIONS)
        self.set_header("Tus-Max-Size", str(largest(self.ctx.policy)))

    def expire(self, moment: datetime) -> None:
        """Say until when the upload may be gone on with."""
        self.set_header("Upload-Expires", moment)


class ResumableUploadsHandler(TusHandler):
    """Where uploads begin."""

    @endpoint(
        roles=EVERY_ROLE,
        summary="创建可续传的上传",
        status=201,
        parameters=(ASKS_VERSION, ASKS_LENGTH, ASKS_METADATA),
        errors=("unsupported_version", "too_large", "unsupported_media", "invalid"),
        responses=tells(201, "已创建", "Location", "Upload-Expires"),
        limits=(UPLOADS,),
    )
    async def post(self) -> None:
        """Its address is in `Location`; the bytes follow by PATCH. Counted as an upload of the hour."""
        upload = await service.create(
            self.ctx,
            owner=self.caller.id,
            length=rules.length_of(self.request.headers.get("Upload-Length")),
            metadata=self.request.headers.get("Upload-Metadata", ""),
        )
        self.set_header("Location", f"/api/v1/media/uploads/{upload['_id']}")
        self.expire(upload["expires_at"])


class ResumableUploadHandler(TusHandler):
    """One upload, for its owner alone."""

    def initialize(self) -> None:
        """Nothing has been taken yet."""
        super().initialize()
        self._continuation: service.Continuation | None = None

    async def prepare(self) -> None:
        """Refuse a PATCH that cannot go on here before its first byte is read."""
        override = self.request.headers.get("X-HTTP-Method-Override", "")
        if self.request.method == "POST" and override in _OVERRIDES:
            self.request.method = override
        if self.request.method != "PATCH":
            await super().prepare()
            return
        self.max_body = LARGEST_BODY
        self.request.connection.set_body_timeout(UPLOAD_SECONDS)  # type: ignore[union-attr]  # as in core.http: HTTP/1
        await super().prepare()
        await self.admit(self._go_on)

    async def _go_on(self) -> None:
        headers = self.request.headers
        rules.require_content_type(headers.get("Content-Type"))
        offset = rules.offset_of(headers.get("Upload-Offset"))
        upload = await service.require_own(self.ctx, upload_id=self.path_args[0], owner=self.caller.id)
        rules.require_next(upload, offset, self._announced())
        self._continuation = service.Continuation(self.ctx, upload)

    async def take(self, chunk: bytes) -> None:
        """Store what has become a piece."""
        if self._continuation is None:
            await super().take(chunk)
        else:
            await self._continuation.take(chunk)

    def on_connection_close(self) -> None:
        """The client is gone: keep what it sent."""
        super().on_connection_close()
        if self._continuation is not None:
            tasks.spawn("upload.keep", self._continuation.keep())

    @endpoint(
        roles=EVERY_ROLE,
        summary="续传",
        reads=rules.CONTENT_TYPE,
        parameters=(ASKS_VERSION, ASKS_OFFSET),
        errors=(
            "not_found",
            "wrong_offset",
            "in_progress",
            "gone",
            "unsupported_version",
            "too_large",
            "unsupported_media",
            "invalid",
            "overloaded",
        ),
        responses=tells(204, "内容已存", "Upload-Offset", "Upload-Expires", "Upload-Medium"),
        limits=(PARTS,),
    )
    async def patch(self, upload_id: str) -> None:
        """The next bytes, from `Upload-Offset` on. With the last of them the file is examined like one sent whole.

        An empty PATCH at the end repeats what the last one does: it waits for the medium, or says why there is none.
        """
        self.require_taken()
        if self._continuation is None:
            raise RuntimeError("prepare did not run")
        await self._tell(await self._continuation.finish())

    @endpoint(
        roles=EVERY_ROLE,
        summary="查询续传位置",
        parameters=(ASKS_VERSION,),
        errors=("not_found", "gone", "unsupported_version"),
        responses=tells(
            204, "已存的字节数", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires", "Upload-Medium"
        ),
    )
    async def head(self, upload_id: str) -> None:
        """How many bytes are stored: where to go on."""
        upload = await service.require_own(self.ctx, upload_id=upload_id, owner=self.caller.id)
        self.set_header("Upload-Length", str(upload["length"]))
        if upload["metadata"]:
            self.set_header("Upload-Metadata", upload["metadata"])
        await self._tell(upload)

    @endpoint(
        roles=EVERY_ROLE,
        summary="查询上传及其媒体",
        parameters=(ASKS_VERSION,),
        answer=UploadView(),
        errors=("not_found", "gone", "unsupported_version"),
    )
    async def get(self, upload_id: str) -> Any:
        """As HEAD, in JSON, and the medium as POST /media would have answered it."""
        upload = await service.require_own(self.ctx, upload_id=upload_id, owner=self.caller.id)
        return await service.view(self.ctx, upload)

    @endpoint(
        roles=EVERY_ROLE,
        summary="取消上传",
        parameters=(ASKS_VERSION,),
        errors=("not_found", "gone", "unsupported_version"),
        responses=tells(204, "已取消"),
    )
    async def delete(self, upload_id: str) -> None:
        """Free what it holds; a medium that it has become already stays."""
        await service.terminate(self.ctx, upload_id=upload_id, owner=self.caller.id)

    async def _tell(self, upload: Mapping[str, Any]) -> None:
        self.set_header("Upload-Offset", str(upload["offset"]))
        self.expire(upload["expires_at"])
        if upload["status"] == "ready" and upload["media_id"] is not None:
            self.set_header("Upload-Medium", upload["media_id"])


_UPLOADS: Final = r"/api/v1/media/uploads"

ROUTES = [
    (_UPLOADS, ResumableUploadsHandler),
    (rf"{_UPLOADS}/([0-9A-HJKMNP-TV-Z]{{26}})", ResumableUploadHandler),
]
