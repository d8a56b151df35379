"""The doors of the auditor. Reading the audit trail is in the trail, too (R6-3)."""

import asyncio
from typing import Any, Final

import structlog
from tornado.iostream import StreamClosedError

from core.accounts import elevation
from core.auditing import schemas, service
from core.errors import AWAY
from core.http import ApiHandler, endpoint
from core.wire import page

log = structlog.get_logger()

AUDITOR: Final = frozenset({"auditor"})
LINES: Final = "application/x-ndjson"
# A reader that takes nothing for so long has gone away without saying so.
STALLED_SECONDS: Final = 60


class AuditHandler(ApiHandler):
    """Who did what."""

    @endpoint(
        roles=AUDITOR, summary="审计记录", query=schemas.AuditQuery(), answer=schemas.ENTRIES, audits="audit.read"
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first, by person, act, subject and time where asked."""
        return page(await service.entries(self.ctx, **query), query["limit"])


class ChainHandler(ApiHandler):
    """Whether nobody has changed it."""

    @endpoint(
        roles=AUDITOR,
        summary="校验审计链",
        query=schemas.ChainQuery(),
        answer=schemas.ChainView(),
        audits="audit.check",
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Some blocks at a time; follow `next_after` to the end, and note the head's hash elsewhere."""
        return await service.check(self.ctx, **query)


class ExportHandler(ApiHandler):
    """A period as a file."""

    @endpoint(
        roles=AUDITOR,
        summary="导出审计记录",
        query=schemas.ExportQuery(),
        media_type=LINES,
        errors=("elevation_required",),
        audits="audit.export",
    )
    async def get(self, query: dict[str, Any]) -> None:
        """One entry a line, oldest first. A connection that ends without its last chunk is not the whole period.

        The trail leaves the house with it, so a fresh proof is asked for (R6-4).
        """
        await elevation.require(self.ctx, self.caller)
        await self.note_read()
        self.set_header("Content-Type", LINES)
        self.set_header("Content-Disposition", 'attachment; filename="audit.ndjson"')
        try:
            async for piece in service.export(self.ctx, **query):
                self.write(piece)
                await asyncio.wait_for(self.flush(), STALLED_SECONDS)
        except (StreamClosedError, TimeoutError) as error:
            self._cut(error)
        except AWAY as error:
            if not self._headers_written:
                raise
            self._cut(error)

    def _cut(self, error: BaseException) -> None:
        """End without the last chunk, which would say that this was everything."""
        log.warning("audit.export_cut", request=self.request_id, why=type(error).__name__)
        self.request.connection.close()  # type: ignore[union-attr]  # as in core.http: HTTP/1


ROUTES: Final = [
    (r"/api/v1/audit", AuditHandler),
    (r"/api/v1/audit/chain", ChainHandler),
    (r"/api/v1/audit/export", ExportHandler),
]
