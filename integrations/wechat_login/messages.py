"""Subscribe messages (订阅消息) of a mini-program: one message for each time its user allowed one."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from core.ports import Rejected, WeChatTemplate
from integrations.wechat_login.calls import WeChatCalls, require_accepted

_PATH = "/cgi-bin/message/subscribe/send"
# 43101: the user has refused, or every permission given has been used.
_REFUSALS = {43101: "not_allowed", 40003: "unknown_user"}


@dataclass(frozen=True)
class MessageTemplate:
    """A template of the mini-program: its id, the page it opens, and WeChat's places (`thing1`) → our names."""

    id: str
    page: str
    fields: Mapping[str, str]


class WeChatMessageClient:
    """Fulfils `core.ports.WeChatMessages` for the mini-program whose calls these are."""

    def __init__(self, calls: WeChatCalls, templates: Mapping[WeChatTemplate, MessageTemplate]) -> None:
        self._calls = calls
        self._templates = templates

    async def send(
        self, openid: str, template: WeChatTemplate, values: Mapping[str, str], *, query: Mapping[str, str]
    ) -> None:
        """Send one message, which opens the template's page with this query.

        `Rejected("not_allowed")`: the user has refused, or all permissions are used. `Rejected("unknown_user")`: no
        openid of this mini-program. `Rejected("errcode_…")`: a mistake of template, page or values. `NotSent`: WeChat
        was not reached, was busy, or gave no token. `Unavailable`: it did not answer, and may have sent the message.
        `KeyError` when a place of the template has no value, before anything is sent.
        """
        form = self._templates[template]
        body = {
            "touser": openid,
            "template_id": form.id,
            "page": f"{form.page}?{urlencode(query)}",
            "miniprogram_state": "formal",
            "lang": "zh_CN",
            "data": {place: {"value": values[name]} for place, name in form.fields.items()},
        }
        answer = await self._calls.call_with_token(_PATH, body)
        errcode = answer.get("errcode", 0)
        if errcode in _REFUSALS:
            raise Rejected(_REFUSALS[errcode], str(errcode))
        require_accepted(answer)
