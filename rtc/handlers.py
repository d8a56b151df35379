"""REST of calls, and its routes."""

from typing import Any, Final

from core.auth import PARTICIPANTS
from core.http import ApiHandler, endpoint
from core.wire import page_of
from rtc import service, views
from rtc.schemas import CallDetail, CallQuery, CallView


class VisitCallsHandler(ApiHandler):
    """The calls of a visit."""

    @endpoint(
        roles=PARTICIPANTS,
        summary="咨询中的音视频通话",
        query=CallQuery(),
        answer=page_of(CallView),
        errors=("not_found",),
    )
    async def get(self, visit_id: str, query: dict[str, Any]) -> Any:
        """Newest first, missed and refused ones too; for the two who take part."""
        calls = await service.page_of(self.ctx, caller=self.caller, visit_id=visit_id, **query)
        shown = [views.shown(call) for call in calls[: query["limit"]]]
        return {"items": shown, "next_cursor": shown[-1]["id"] if len(calls) > query["limit"] else None}


class CallHandler(ApiHandler):
    """One call."""

    @endpoint(roles=PARTICIPANTS, summary="通话详情", answer=CallDetail(), errors=("not_found",))
    async def get(self, call_id: str) -> Any:
        """State, every step, the consents to recording and the quality, for the two who take part."""
        return views.detail(await service.read(self.ctx, caller=self.caller, call_id=call_id))


ROUTES: Final[list[Any]] = [
    (r"/api/v1/visits/([0-9A-Z]{26})/calls", VisitCallsHandler),
    (r"/api/v1/calls/([0-9A-Z]{26})", CallHandler),
]
