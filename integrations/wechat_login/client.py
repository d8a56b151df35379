"""The three calls of a mini-program's server API that login needs (https://api.weixin.qq.com).

HTTP is always 200; `errcode` tells (absent or 0: well). `session_key` is never read and so never leaves this module.
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from core import metrics
from core.ports import Rejected, Unavailable, WeChatUser
from integrations.wechat_login.tokens import MemoryTokenCache, TokenCache

log = structlog.get_logger()

_BUSY = frozenset({-1, 45011})  # busy; more than 100 calls a minute for one user
_BAD_CODE = frozenset({40029, 40163, 41008})  # false or expired, used before, empty
_BAD_TOKEN = frozenset({40001, 40014, 42001})  # not the latest, malformed, expired
_BLOCKED_USER = 40226

_MAINLAND_NUMBER = re.compile(r"1[3-9]\d{9}", re.ASCII)

# WeChat hands out the next token 300 s before the last one ends, and both hold in that time.
_TOKEN_OVERLAP = 300
# A forced refresh is allowed 20 times a day; one in 72 minutes can never use that up.
_FORCED_EVERY = 72 * 60


@dataclass(frozen=True)
class WeChatLoginConfig:
    """One mini-program; `timeout` in seconds is that of each call as a whole."""

    appid: str
    secret: str = field(repr=False)
    endpoint: str = "https://api.weixin.qq.com"
    timeout: float = 5.0


class WeChatLoginClient:
    """Fulfils `core.ports.WeChatLogin` for one mini-program; `start` before the first call, `close` at the end."""

    def __init__(self, config: WeChatLoginConfig, tokens: TokenCache | None = None) -> None:
        self._config = config
        self._tokens: TokenCache = tokens if tokens is not None else MemoryTokenCache()
        self._token_name = f"wechat:{config.appid}:token"
        self._http: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Open the connection pool; connects at the first call."""
        # WeChat wants secret and token in the address, and httpx writes each address to its log at level INFO.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._http = httpx.AsyncClient(base_url=self._config.endpoint, timeout=self._config.timeout)

    async def close(self) -> None:
        """Close the connections; a later call is `Unavailable`."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def user(self, login_code: str) -> WeChatUser:
        """Redeem a `wx.login` code (code2Session).

        `Rejected("invalid_code")` when it is false, used or expired, `Rejected("blocked_user")` when WeChat holds the
        user for high-risk. After `Unavailable` the code may be spent: the mini-program must ask for a new one.
        """
        answer = await self._call(
            "GET",
            "/sns/jscode2session",
            query={
                "appid": self._config.appid,
                "secret": self._config.secret,
                "js_code": login_code,
                "grant_type": "authorization_code",
            },
        )
        _require_accepted(answer)
        match answer:
            case {"openid": str(openid)} if openid:
                return WeChatUser(openid=openid, unionid=answer.get("unionid") or None)
        raise Unavailable("wechat code2Session: no readable answer")

    async def phone(self, phone_code: str) -> str:
        """Redeem a phone-number code (getuserphonenumber) into an 11-digit mainland number.

        `Rejected("invalid_code")` when it is false, used or expired, `Rejected("not_mainland_number")` for others.
        """
        token = await self._token()
        answer = await self._redeem_phone(token, phone_code)
        if answer.get("errcode") in _BAD_TOKEN:
            answer = await self._redeem_phone(await self._token(refused=token), phone_code)
            if answer.get("errcode") in _BAD_TOKEN:  # the token is at fault; the code is still good
                raise Unavailable("wechat getuserphonenumber: the new token was refused")
        _require_accepted(answer)
        match answer:
            case {"phone_info": {"purePhoneNumber": str(number), "countryCode": str() | int() as country}}:
                if str(country) == "86" and _MAINLAND_NUMBER.fullmatch(number):
                    return number
                raise Rejected("not_mainland_number")
        raise Unavailable("wechat getuserphonenumber: no readable answer")

    async def _redeem_phone(self, token: str, phone_code: str) -> Mapping[str, Any]:
        return await self._call(
            "POST", "/wxa/business/getuserphonenumber", query={"access_token": token}, body={"code": phone_code}
        )

    async def _token(self, refused: str | None = None) -> str:
        """The access token, fetched by one holder when none is kept or the one kept is the one WeChat `refused`."""
        kept = await self._tokens.get(self._token_name)
        if kept is not None and kept != refused:
            return kept
        async with self._tokens.lock(self._token_name):
            kept = await self._tokens.get(self._token_name)
            if kept is not None and kept != refused:  # another holder fetched it while we waited
                return kept
            token, seconds = await self._fetch_token(force=False)
            if token == refused and await self._may_force():
                token, seconds = await self._fetch_token(force=True)
            await self._tokens.put(self._token_name, token, seconds=max(seconds - _TOKEN_OVERLAP, 60))
            return token

    async def _may_force(self) -> bool:
        """Whether no forced refresh was made lately; notes that one is made now."""
        name = f"{self._token_name}:forced"
        if await self._tokens.get(name) is not None:
            return False
        await self._tokens.put(name, "1", seconds=_FORCED_EVERY)
        return True

    async def _fetch_token(self, *, force: bool) -> tuple[str, int]:
        """A token and its seconds to live (stable_token); without `force` WeChat answers the one it holds valid."""
        answer = await self._call(
            "POST",
            "/cgi-bin/stable_token",
            body={
                "grant_type": "client_credential",
                "appid": self._config.appid,
                "secret": self._config.secret,
                "force_refresh": force,
            },
        )
        _require_accepted(answer)
        match answer:
            case {"access_token": str(token), "expires_in": int(seconds)} if token:
                return token, seconds
        raise Unavailable("wechat stable_token: no readable answer")

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """One call, made once; its JSON object, whatever `errcode` says. No answer is `Unavailable`."""
        started = time.monotonic()
        status, answer = 0, None
        try:
            status, answer = await self._request(method, path, query, body)
        finally:
            seconds = time.monotonic() - started
            code = answer.get("errcode") if isinstance(answer, dict) else None
            away = status != 200 or code in _BUSY
            outcome = "unavailable" if away else "refused" if code else "ok"
            metrics.OUTSIDE.labels("wechat_login", path, outcome).observe(seconds)
            log.info(
                "outside.called",
                system="wechat_login",
                action=path,
                status=status,
                code=code,
                duration_ms=round(seconds * 1000),
            )
        if status != 200 or not isinstance(answer, dict):
            raise Unavailable(f"wechat {path}: no readable answer, status {status}")
        return answer

    async def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> tuple[int, Any]:
        if self._http is None:
            raise Unavailable("wechat: the client is not started")
        try:
            # httpx times each read by itself, so a slow drip would never end: this bounds the whole call.
            async with asyncio.timeout(self._config.timeout):
                answer = await self._http.request(method, path, params=query, json=body)
        except (httpx.HTTPError, TimeoutError) as error:
            # The cause holds the address with the secret in it, so only its type goes on.
            raise Unavailable(f"wechat {path}: {type(error).__name__}") from None
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None


def _require_accepted(answer: Mapping[str, Any]) -> None:
    """Raise what a non-zero `errcode` means."""
    errcode = answer.get("errcode", 0)
    if errcode == 0:
        return
    if errcode in _BUSY:
        raise Unavailable(f"wechat: errcode {errcode}")
    if errcode in _BAD_CODE:
        raise Rejected("invalid_code", str(errcode))
    if errcode == _BLOCKED_USER:
        raise Rejected("blocked_user", str(errcode))
    raise Rejected(f"errcode_{errcode}")
