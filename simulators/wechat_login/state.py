"""Codes, access tokens and user ids, as WeChat would keep them."""

import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from simulators.store import Store

_CODE_SECONDS = 300
_TOKEN_SECONDS = 7200
# A normal call in the last 300 s hands out the next token; both hold until the old one ends.
_OVERLAP_SECONDS = 300
_FORCED_APART_SECONDS = 30
_FORCED_A_DAY = 20
_DAY = 86400


class WeChatError(Exception):
    """An `errcode` with its `errmsg`."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(f"{errcode} {errmsg}")
        self.errcode = errcode
        self.errmsg = errmsg


def _id(length: int, *parts: str) -> str:
    digest = hashlib.sha512("\n".join(parts).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:length]


def openid_of(appid: str, phone: str) -> str:
    """The user's id in one mini-program: always the same for a phone, different in the other mini-program."""
    return "o" + _id(27, "openid", appid, phone)


def unionid_of(phone: str) -> str:
    """The user's id over all mini-programs of the hospital."""
    return "u" + _id(27, "unionid", phone)


class Codes:
    """Single-use codes of five minutes: what `wx.login` and the phone-number button give to a page."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def mint(self, kind: str, person: dict[str, Any]) -> str:
        """A new code of the kind (`login`, `phone`) that stands for the person."""
        code = secrets.token_urlsafe(24)
        now = self._now()
        self._store.forget(kind, before=now - _DAY)
        self._store.append(kind, code, now, {**person, "until": now + _CODE_SECONDS, "used": False})
        return code

    def redeem(self, kind: str, code: str, appid: str) -> dict[str, Any]:
        """The person, once. 40163 when used, 40029 when false, expired, or of another mini-program."""
        person = self._store.latest(kind, code)
        if person is None or person["appid"] not in (None, appid):
            raise WeChatError(40029, "invalid code")
        if person["used"]:
            # The phone-number call has only one word for all bad codes.
            raise WeChatError(40163, "code been used") if kind == "login" else WeChatError(40029, "invalid code")
        if person["until"] < self._now():
            raise WeChatError(40029, "invalid code")
        self._store.replace(kind, code, self._now(), {**person, "used": True})
        return person


class Tokens:
    """Access tokens of the mini-programs (stable_token).

    A normal call answers the token that holds; a forced one replaces it at once, at most every 30 s and 20 times a day.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def hand_out(self, appid: str, *, force: bool) -> tuple[str, int]:
        """The token and its seconds to live."""
        now = self._now()
        self._store.forget("forced", before=now - _DAY)
        kept = self._store.latest("current", appid)
        if force and self._store.count("forced", appid, since=now - _FORCED_APART_SECONDS) == 0:
            if self._store.count("forced", appid) >= _FORCED_A_DAY:
                raise WeChatError(45009, "reach max api daily quota limit")
            self._store.append("forced", appid, now, {})
            self.revoke(appid)
            kept = None
        if kept is None or kept["until"] - now <= _OVERLAP_SECONDS:
            kept = {"token": secrets.token_urlsafe(102), "until": now + _TOKEN_SECONDS}  # 136 characters, as WeChat's
            self._store.replace("current", appid, now, kept)
            self._store.forget("token", before=now - _DAY)
            self._store.append("token", kept["token"], now, {"appid": appid, "until": kept["until"]})
        return kept["token"], int(kept["until"] - now)

    def appid_of(self, token: str) -> str:
        """Whose token it is. 40001 when it is false or was replaced, 42001 when it has expired."""
        kept = self._store.latest("token", token)
        if kept is None:
            raise WeChatError(40001, "invalid credential, access_token is invalid or not latest")
        if kept["until"] < self._now():
            raise WeChatError(42001, "access_token expired")
        return str(kept["appid"])

    def revoke(self, appid: str, *, still_handed_out: bool = False) -> None:
        """Refuse the current token from now on; `still_handed_out`: go on answering it to normal calls all the same."""
        kept = self._store.latest("current", appid)
        if kept is not None:
            self._store.remove("token", kept["token"])
            if not still_handed_out:
                self._store.remove("current", appid)
