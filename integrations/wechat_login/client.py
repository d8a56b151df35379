"""The two calls of a mini-program's server API that login needs.

`session_key` is never read and so never leaves this module.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.ports import Rejected, Unavailable, WeChatUser
from integrations.wechat_login.calls import WeChatCalls, require_accepted

_BAD_CODE = frozenset({40029, 40163, 41008})  # false or expired, used before, empty
_BLOCKED_USER = 40226

_MAINLAND_NUMBER = re.compile(r"1[3-9]\d{9}", re.ASCII)


class WeChatLoginClient:
    """Fulfils `core.ports.WeChatLogin` for the mini-program whose calls these are."""

    def __init__(self, calls: WeChatCalls) -> None:
        self._calls = calls

    async def user(self, login_code: str) -> WeChatUser:
        """Redeem a `wx.login` code (code2Session).

        `Rejected("invalid_code")` when it is false, used or expired, `Rejected("blocked_user")` when WeChat holds the
        user for high-risk. After `Unavailable` the code may be spent: the mini-program must ask for a new one.
        """
        answer = await self._calls.call(
            "GET",
            "/sns/jscode2session",
            query={
                "appid": self._calls.app.appid,
                "secret": self._calls.app.secret,
                "js_code": login_code,
                "grant_type": "authorization_code",
            },
        )
        _require_redeemed(answer)
        match answer:
            case {"openid": str(openid)} if openid:
                return WeChatUser(openid=openid, unionid=answer.get("unionid") or None)
        raise Unavailable("wechat code2Session: no readable answer")

    async def phone(self, phone_code: str) -> str:
        """Redeem a phone-number code (getuserphonenumber) into an 11-digit mainland number.

        `Rejected("invalid_code")` when it is false, used or expired, `Rejected("not_mainland_number")` for others.
        """
        answer = await self._calls.call_with_token("/wxa/business/getuserphonenumber", {"code": phone_code})
        _require_redeemed(answer)
        match answer:
            case {"phone_info": {"purePhoneNumber": str(number), "countryCode": str() | int() as country}}:
                if str(country) == "86" and _MAINLAND_NUMBER.fullmatch(number):
                    return number
                raise Rejected("not_mainland_number")
        raise Unavailable("wechat getuserphonenumber: no readable answer")


def _require_redeemed(answer: Mapping[str, Any]) -> None:
    """Raise what a non-zero `errcode` means."""
    errcode = answer.get("errcode", 0)
    if errcode in _BAD_CODE:
        raise Rejected("invalid_code", str(errcode))
    if errcode == _BLOCKED_USER:
        raise Rejected("blocked_user", str(errcode))
    require_accepted(answer)
