"""REST of calls, and its routes."""

from typing import Any, Final

from core.auth import ANYONE, PARTICIPANTS, Actor
from core.http import ApiHandler, endpoint
from core.media.handlers import BY_LINK, ContentHandler
from core.media.schemas import ANY_TYPE, PARTIAL, RANGE_PARAMETERS, UNCHANGED, LinkView
from core.wire import page_of
from rtc import playback, service, views
from rtc.schemas import AskRecording, CallDetail, CallQuery, CallView, RecordingView, SignedRecording


class VisitCallsHandler(ApiHandler):
    """The calls of a visit."""

    @endpoint(
        roles=PARTICIPANTS,
        summary="咨询中的音视频通话",
        query=CallQuery(),
        answer=page_of(CallView),
        audits="visit.calls",
        errors=("not_found",),
    )
    async def get(self, visit_id: str, query: dict[str, Any]) -> Any:
        """Newest first, missed and refused ones too; for the two who take part."""
        calls = await service.page_of(self.ctx, caller=self.caller, visit_id=visit_id, **query)
        shown = [views.shown(call) for call in calls[: query["limit"]]]
        return {"items": shown, "next_cursor": shown[-1]["id"] if len(calls) > query["limit"] else None}


class CallHandler(ApiHandler):
    """One call."""

    @endpoint(roles=PARTICIPANTS, summary="通话详情", answer=CallDetail(), audits="call.read", errors=("not_found",))
    async def get(self, call_id: str) -> Any:
        """State, every step, the consents to recording and the quality, for the two who take part."""
        return views.detail(await service.read(self.ctx, caller=self.caller, call_id=call_id))


class RecordingHandler(ApiHandler):
    """What was recorded of a call."""

    @endpoint(
        roles=playback.READERS,
        summary="通话录制信息",
        answer=RecordingView(),
        audits="recording.describe",
        errors=("not_found",),
    )
    async def get(self, call_id: str) -> Any:
        """The film, the segments and their digests, and what happened when; for the visit's doctor and overseers."""
        return views.recording(await playback.recording(self.ctx, caller=self.caller, call_id=call_id))


class RecordingLinksHandler(ApiHandler):
    """Addresses of a recording for `<video>`, which sends no token."""

    @endpoint(
        roles=playback.READERS,
        summary="申请查看通话录制",
        body=AskRecording(),
        answer=LinkView(),
        audits="recording.link",
        errors=("not_found", "elevation_required"),
    )
    async def post(self, call_id: str, body: dict[str, Any]) -> Any:
        """For a fresh proof and a reason; good for this file, in the name of this account, for at most five minutes."""
        return await playback.link(self.ctx, caller=self.caller, call_id=call_id, **body)


class RecordingContentHandler(ContentHandler):
    """The other end of a signed link."""

    @endpoint(
        roles=ANYONE,
        summary="通过签名链接查看通话录制",
        audits="recording.read",
        query=SignedRecording(),
        media_type=ANY_TYPE,
        parameters=RANGE_PARAMETERS,
        responses=PARTIAL,
        errors=("forbidden", "not_found", "range_not_satisfiable"),
    )
    async def get(self, call_id: str, query: dict[str, Any]) -> None:
        """Whole or by range. Whether the account may still see it is asked again at every use."""
        await self._serve_granted(call_id, query)

    @endpoint(
        roles=ANYONE,
        summary="通过签名链接查看通话录制的信息",
        audits="recording.read",
        query=SignedRecording(),
        media_type=ANY_TYPE,
        errors=("forbidden", "not_found"),
        responses=UNCHANGED,
    )
    async def head(self, call_id: str, query: dict[str, Any]) -> None:
        """The headers of GET."""
        await self._serve_granted(call_id, query)

    async def _serve_granted(self, call_id: str, query: dict[str, Any]) -> None:
        content = await playback.require_granted(self.ctx, call_id=call_id, **query)
        remaining = int(query["expires"] - self.ctx.clock.now().timestamp())
        await self.serve(content, fresh_seconds=max(0, remaining), by=Actor(query["account"], BY_LINK))


ROUTES: Final[list[Any]] = [
    (r"/api/v1/visits/([0-9A-Z]{26})/calls", VisitCallsHandler),
    (r"/api/v1/calls/([0-9A-Z]{26})", CallHandler),
    (r"/api/v1/calls/([0-9A-Z]{26})/recording", RecordingHandler),
    (r"/api/v1/calls/([0-9A-Z]{26})/recording/links", RecordingLinksHandler),
    (r"/api/v1/calls/([0-9A-Z]{26})/recording/content", RecordingContentHandler),
]
