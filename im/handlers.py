"""REST of the chat, and its routes."""

from typing import Any, Final

from core.auth import PARTICIPANTS
from core.http import ApiHandler, endpoint
from im import service
from im.schemas import History, HistoryQuery
from im.socket import ChatSocket


class MessagesHandler(ApiHandler):
    """What was said in a visit."""

    @endpoint(
        roles=PARTICIPANTS,
        summary="咨询消息记录",
        audits="visit.messages",
        query=HistoryQuery(),
        answer=History(),
        errors=("not_found",),
    )
    async def get(self, visit_id: str, query: dict[str, Any]) -> Any:
        """By number, lowest first; recalled messages are listed without their body. For the two who take part."""
        return await service.history(self.ctx, caller=self.caller, conversation=visit_id, **query)


REST_ROUTES: Final[list[Any]] = [(r"/api/v1/visits/([0-9A-Z]{26})/messages", MessagesHandler)]
SOCKET_ROUTES: Final[list[Any]] = [(r"/ws", ChatSocket)]
