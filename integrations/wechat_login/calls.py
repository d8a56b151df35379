"""A mini-program's calls to WeChat's server API (https://api.weixin.qq.com): the connection and the access token.

HTTP is always 200; `errcode` tells (absent or 0: well).
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from core import metrics
from core.ports import NotSent, Rejected, Unavailable
from integrations.wechat_login.tokens import MemoryTokenCache, TokenCache

log = structlog.get_logger()

_BUSY = frozenset({-1, 45011})  # busy; more than 100 calls a minute for one user
_BAD_TOKEN = frozenset({40001, 40014, 42001})  # not the latest, malformed, expired

# WeChat hands out the next token 300 s before the last one ends, and both hold in that time.
_TOKEN_OVERLAP = 300
# A forced refresh is allowed 20 times a day; one in 72 minutes can never use that up.
_FORCED_EVERY = 72 * 60


@dataclass(frozen=True)
class MiniProgram:
    """One mini-program; `timeout` in seconds is that of each call as a whole."""

    appid: str
    secret: str = field(repr=False)
    endpoint: str = "https://api.weixin.qq.com"
    timeout: float = 5.0


class WeChatCalls:
    """The calls of one mini-program; `start` before the first, `close` at the end."""

    def __init__(self, app: MiniProgram, tokens: TokenCache | None = None) -> None:
        self.app = app
        self._tokens: TokenCache = tokens if tokens is not None else MemoryTokenCache()
        self._token_name = f"wechat:{app.appid}:token"
        self._http: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Open the connection pool; connects at the first call."""
        # WeChat wants secret and token in the address, and httpx writes each address to its log at level INFO.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._http = httpx.AsyncClient(base_url=self.app.endpoint, timeout=self.app.timeout)

    async def close(self) -> None:
        """Close the connections; a later call is `NotSent`."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def call_with_token(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """POST with the access token; WeChat's answer, whatever `errcode` says. A refused token is refreshed once.

        Without a token that WeChat takes it is `NotSent`: what was to be redeemed or sent is still good.
        """
        token = await self._sure_token()
        answer = await self._post(path, token, body)
        if answer.get("errcode") in _BAD_TOKEN:
            answer = await self._post(path, await self._sure_token(refused=token), body)
            if answer.get("errcode") in _BAD_TOKEN:
                raise NotSent(f"wechat {path}: the new token was refused")
        return answer

    async def _post(self, path: str, token: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.call("POST", path, query={"access_token": token}, body=body)

    async def _sure_token(self, refused: str | None = None) -> str:
        try:
            return await self._token(refused)
        except Unavailable as error:
            raise NotSent(str(error)) from None

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
        answer = await self.call(
            "POST",
            "/cgi-bin/stable_token",
            body={
                "grant_type": "client_credential",
                "appid": self.app.appid,
                "secret": self.app.secret,
                "force_refresh": force,
            },
        )
        require_accepted(answer)
        match answer:
            case {"access_token": str(token), "expires_in": int(seconds)} if token:
                return token, seconds
        raise Unavailable("wechat stable_token: no readable answer")

    async def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """One call, made once; its JSON object, whatever `errcode` says.

        No answer is `Unavailable`, and `NotSent` where no connection was had.
        """
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
            raise NotSent("wechat: the client is not started")
        try:
            # httpx times each read by itself, so a slow drip would never end: this bounds the whole call.
            async with asyncio.timeout(self.app.timeout):
                answer = await self._http.request(method, path, params=query, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(f"wechat {path}: {type(error).__name__}") from None
        except (httpx.HTTPError, TimeoutError) as error:
            # The cause holds the address with the secret in it, so only its type goes on.
            raise Unavailable(f"wechat {path}: {type(error).__name__}") from None
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None


def require_accepted(answer: Mapping[str, Any]) -> None:
    """Raise what a non-zero `errcode` means: `NotSent` when WeChat is busy, else `Rejected("errcode_…")`."""
    errcode = answer.get("errcode", 0)
    if errcode in _BUSY:
        raise NotSent(f"wechat: errcode {errcode}")
    if errcode != 0:
        raise Rejected(f"errcode_{errcode}")
