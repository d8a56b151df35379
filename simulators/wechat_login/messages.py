"""Subscribe messages: what WeChat checks of one, and the permissions that each uses up.

Rules from the vendor's "subscribeMessage.send" and "one-time subscription" pages: a user's acceptance of a template is
one permission, a message uses one; values are of their place's type.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from simulators.store import Store
from simulators.wechat_login.state import WeChatError

_DAY = 86400
_PAGE = re.compile(r"[\w/-]+(\?[^\s?#]*)?", re.ASCII)
_TIME = r"(\d{4}(年|-)\d{1,2}(月|-)\d{1,2}日? )?\d{1,2}:\d{2}(:\d{2})?"
_DATE = rf"\d{{4}}(年|-)\d{{1,2}}(月|-)\d{{1,2}}日?|{_TIME}"
# The type is the place's name without its number; the value must match as a whole.
_TYPES: Mapping[str, re.Pattern[str]] = {
    "thing": re.compile(r".{1,20}", re.DOTALL),
    "phrase": re.compile(r"[\u4e00-\u9fff]{1,5}"),
    "name": re.compile(r"[\u4e00-\u9fff]{1,10}|[A-Za-z ]{1,20}"),
    "number": re.compile(r"-?\d{1,32}(\.\d+)?", re.ASCII),
    "letter": re.compile(r"[A-Za-z]{1,32}"),
    "character_string": re.compile(r"[\x21-\x7e]{1,32}"),
    "amount": re.compile(r"¥?\d{1,10}(\.\d{1,2})?元?", re.ASCII),
    "time": re.compile(_TIME, re.ASCII),
    "date": re.compile(_DATE, re.ASCII),
}


def check_values(places: Mapping[str, str], data: Any) -> dict[str, str]:
    """The values by place; 47003 names the first that is missing, not of the template, or not of its type."""
    if not isinstance(data, dict):
        raise WeChatError(47003, "argument invalid! data is empty")
    values = {}
    for place in places:
        given = data.get(place)
        value = given.get("value") if isinstance(given, dict) else None
        pattern = _TYPES.get(place.rstrip("0123456789"))
        if not isinstance(value, str) or pattern is None or not pattern.fullmatch(value):
            raise WeChatError(47003, f"argument invalid! data.{place}.value is invalid")
        values[place] = value
    return values


class Messages:
    """Users, their permissions, and the messages that they got."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def meet(self, appid: str, openid: str) -> None:
        """From now on this is a user of the mini-program."""
        self._store.replace("user", f"{appid} {openid}", self._now(), {})

    def allow(self, appid: str, openid: str, template_id: str, count: int) -> None:
        """The user accepts so many messages of the template."""
        self.meet(appid, openid)
        left = self.allowed(appid, openid, template_id) + count
        self._store.replace("permission", f"{appid} {openid} {template_id}", self._now(), {"left": left})

    def allowed(self, appid: str, openid: str, template_id: str) -> int:
        """How many messages of the template the user will still take."""
        kept = self._store.latest("permission", f"{appid} {openid} {template_id}")
        return int(kept["left"]) if kept else 0

    def send(self, appid: str, templates: Mapping[str, Mapping[str, Any]], message: Mapping[str, Any]) -> int:
        """Deliver it and use a permission up; the message's number. Else a `WeChatError`, and nothing has changed."""
        openid, page = message.get("touser"), message.get("page", "")
        if not isinstance(openid, str) or self._store.latest("user", f"{appid} {openid}") is None:
            raise WeChatError(40003, "invalid openid")
        name, template = _filed(templates, message.get("template_id"))
        if not isinstance(page, str) or (page and not _PAGE.fullmatch(page)):
            raise WeChatError(41030, "invalid page")
        if message.get("miniprogram_state", "formal") not in ("developer", "trial", "formal"):
            raise WeChatError(47003, "argument invalid! miniprogram_state is invalid")
        values = check_values(template["fields"], message.get("data"))
        left = self.allowed(appid, openid, template["id"])
        if not left:
            raise WeChatError(43101, "user refuse to accept the msg")
        now = self._now()
        self._store.replace("permission", f"{appid} {openid} {template['id']}", now, {"left": left - 1})
        self._store.forget("subscribe", before=now - _DAY)
        number = round(now * 1000)
        body = {"template": name, "page": page, "data": values, "msgid": number, "sent_at": now}
        self._store.append("subscribe", f"{appid} {openid}", now, body)
        return number

    def sent(self, appid: str, openid: str) -> list[dict[str, Any]]:
        """What the user got within a day, oldest first."""
        return self._store.all("subscribe", f"{appid} {openid}")


def _filed(templates: Mapping[str, Mapping[str, Any]], id_: Any) -> tuple[str, Mapping[str, Any]]:
    for name, template in templates.items():
        if template["id"] == id_:
            return name, template
    raise WeChatError(40037, "invalid template_id")
