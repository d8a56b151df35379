"""Tencent Cloud API 3.0: one signed call (TC3-HMAC-SHA256), shared by text messages and the identity check.

Facts from the vendor's documents "Signature v3" and "Common error codes": POST / with a JSON body, the action and
version in headers, a timestamp at most five minutes off, HTTP 200 also for refusals, and the answer wrapped in
`Response`, which holds `Error` when the call failed.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog

from core import metrics
from core.ports import Rejected, Unavailable

log = structlog.get_logger()

_JSON = "application/json; charset=utf-8"

# Families of error codes (the word before the first dot) that say "not now" instead of "no".
_NOT_NOW = frozenset({"InternalError", "RequestLimitExceeded", "ServiceUnavailable"})
# Our clock is more than five minutes off, which says nothing of what was asked for.
_EXPIRED = "AuthFailure.SignatureExpire"


@dataclass(frozen=True)
class Credentials:
    """A key pair of the hospital's Tencent Cloud account."""

    secret_id: str
    secret_key: str = field(repr=False)


def is_temporary(code: str) -> bool:
    """Whether an error code asks to be called again later."""
    return code == _EXPIRED or code.split(".", 1)[0] in _NOT_NOW


def _outcome(status: int, code: str | None) -> str:
    """What became of a call, in a word that may be a label."""
    if status != 200 or (code is not None and is_temporary(code)):
        return "unavailable"
    return "ok" if code is None else "refused"


def authorization(
    credentials: Credentials, *, service: str, headers: Mapping[str, str], payload: bytes, timestamp: int
) -> str:
    """The `Authorization` header of a POST to `/` without query, signing exactly `headers`; `timestamp` in seconds."""
    values = {name.lower(): value.strip().lower() for name, value in headers.items()}
    names = sorted(values)
    signed_names = ";".join(names)
    canonical_headers = "".join(f"{name}:{values[name]}\n" for name in names)
    canonical = f"POST\n/\n\n{canonical_headers}\n{signed_names}\n{hashlib.sha256(payload).hexdigest()}"
    date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{service}/tc3_request"
    to_sign = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{credentials.secret_key}".encode()
    for part in (date, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return (
        f"TC3-HMAC-SHA256 Credential={credentials.secret_id}/{scope}, SignedHeaders={signed_names}, "
        f"Signature={signature}"
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TencentCloud:
    """One product of Tencent Cloud over one connection pool; `start` before the first call, `close` at the end."""

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        service: str,
        version: str,
        region: str | None = None,
        timeout: float = 5.0,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._url = httpx.URL(endpoint).copy_with(path="/")
        self._credentials = credentials
        self._service = service
        self._version = version
        self._region = region
        self._timeout = timeout
        self._now = now
        self._http: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Open the connection pool; connects at the first call."""
        self._http = httpx.AsyncClient(timeout=self._timeout)

    async def close(self) -> None:
        """Close the connections; a later call is `Unavailable`."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def call(self, action: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The `Response` object of a call made once, within the timeout as a whole.

        No answer, an unreadable one or a temporary error is `Unavailable`; any other error is `Rejected` with the
        vendor's code. `RequestId` is always there.
        """
        started = time.monotonic()
        status, answer = 0, None
        try:
            status, answer = await self._post(action, json.dumps(parameters, ensure_ascii=False).encode())
        finally:
            seconds, code = time.monotonic() - started, _error_code(answer)
            metrics.OUTSIDE.labels(self._service, action, _outcome(status, code)).observe(seconds)
            log.info(
                "outside.called",
                system=self._service,
                action=action,
                status=status,
                code=code,
                duration_ms=round(seconds * 1000),
            )
        return self._read(action, status, answer)

    async def _post(self, action: str, payload: bytes) -> tuple[int, Any]:
        if self._http is None:
            raise Unavailable(f"{self._service}: the client is not started")
        try:
            # httpx times each read by itself, so a slow drip would never end: this bounds the whole call.
            async with asyncio.timeout(self._timeout):
                answer = await self._http.post(self._url, content=payload, headers=self._headers(action, payload))
        except (httpx.HTTPError, TimeoutError) as error:
            # The cause holds the request with its personal data, so only its type goes on.
            raise Unavailable(f"{self._service} {action}: {type(error).__name__}") from None
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    def _headers(self, action: str, payload: bytes) -> dict[str, str]:
        timestamp = int(self._now().timestamp())
        signed = {"Content-Type": _JSON, "Host": self._url.netloc.decode(), "X-TC-Action": action}
        signature = authorization(
            self._credentials, service=self._service, headers=signed, payload=payload, timestamp=timestamp
        )
        headers = {
            **signed,
            "Authorization": signature,
            "X-TC-Timestamp": str(timestamp),
            "X-TC-Version": self._version,
        }
        return headers if self._region is None else {**headers, "X-TC-Region": self._region}

    def _read(self, action: str, status: int, answer: Any) -> Mapping[str, Any]:
        response = answer.get("Response") if isinstance(answer, dict) else None
        if not isinstance(response, dict) or not response.get("RequestId"):
            raise Unavailable(f"{self._service} {action}: no readable answer, status {status}")
        if (code := _error_code(answer)) is None:
            return response
        if is_temporary(code):
            raise Unavailable(f"{self._service} {action}: {code}")
        raise Rejected(code)


def _error_code(answer: Any) -> str | None:
    """The `Error.Code` of an answer; None when it holds no error."""
    match answer:
        case {"Response": {"Error": {"Code": str(code)}}}:
            return code
        case {"Response": {"Error": _}}:
            return "InternalError"  # an error without a code says nothing we could act on
    return None
