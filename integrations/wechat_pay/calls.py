"""One call of the gateway: bounded in time, logged, and its failures told apart."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from core import metrics
from core.ports import Rejected, Unavailable

log = structlog.get_logger()

# The gateway's own words for "not now"; a 5xx of any kind and a 429 say the same.
# SIGN_ERROR judges our key and our clock (±5 min), not what was asked for: put right, the same call goes through.
ASK_AGAIN = frozenset({"SYSTEM_ERROR", "FREQUENCY_LIMITED", "BANK_ERROR", "SIGN_ERROR"})


@dataclass(frozen=True)
class Answer:
    """What the gateway said: `document` is empty for 204 and for a refusal, `code` is None for success."""

    document: dict[str, Any]
    code: str | None
    message: str = ""


async def call(
    action: str, number: str, send: Callable[[], Awaitable[tuple[int, str | bytes]]], *, seconds: float
) -> Answer:
    """Make the call within `seconds` and log its kind, our number, status and duration, never what it says.

    `Unavailable` when there was no answer in time, the gateway asks to be called again, or the answer is not signed by
    it: what the call did is then unknown, and the same call may be made again.
    """
    began = time.monotonic()
    status, code, outcome = 0, None, "unavailable"
    try:
        async with asyncio.timeout(seconds):
            status, body = await send()
        answer = _read(action, status, body)
        code = answer.code
        outcome = "ok" if code is None else "refused"
        return answer
    except (TimeoutError, httpx.HTTPError) as failure:
        code = type(failure).__name__
        raise Unavailable(f"wechat_pay {action}: {code}") from failure
    except Unavailable as failure:
        code = str(failure)
        raise
    except Exception as failure:
        # wechatpayv3 raises bare Exception where a signature does not hold; what is more special is a mistake of ours.
        if type(failure) is not Exception:
            raise
        code = "forged"
        raise Unavailable(f"wechat_pay {action}: the answer's signature does not hold") from failure
    finally:
        took = time.monotonic() - began
        metrics.OUTSIDE.labels("wechat_pay", action, outcome).observe(took)
        log.info(
            "outside.called",
            system="wechat_pay",
            action=action,
            number=number,
            status=status,
            code=code,
            duration_ms=round(took * 1000),
        )


def require_success(answer: Answer) -> None:
    """A refusal becomes `Rejected` with the gateway's code."""
    if answer.code is not None:
        raise Rejected(answer.code, answer.message)


def _read(action: str, status: int, body: str | bytes) -> Answer:
    if status == 204:
        return Answer({}, None)
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if 200 <= status < 300 and isinstance(document, dict):
        return Answer(document, None)
    code = document.get("code") if isinstance(document, dict) else None
    if status >= 500 or status == 429 or code in ASK_AGAIN or not isinstance(code, str):
        raise Unavailable(f"wechat_pay {action}: {status} {code}")
    return Answer({}, code, str(document.get("message", "")) if isinstance(document, dict) else "")
