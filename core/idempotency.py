"""`Idempotency-Key`: the same key from the same account returns the first answer for seven days.

Only successes are kept: a refusal changed nothing, so its key may be tried again. A call whose process died is taken
over after `STALE_SECONDS`; services make that safe by keeping the key under a unique index on what they create. Answers
hold what is sealed everywhere else, so they are sealed here as well.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from core.context import Context

STALE_SECONDS: Final = 30
KEY_FORM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
FIELD: Final = "idempotency.answer"


@dataclass(frozen=True)
class Call:
    """What a keyed request was; `started_at` is also the mark by which it knows its own note again."""

    account: str
    key: str
    method: str
    path: str
    body: bytes
    started_at: datetime

    @property
    def id(self) -> str:
        """Keys belong to accounts."""
        return f"{self.account}:{self.key}"

    @property
    def fingerprint(self) -> str:
        """The same key must mean the same request."""
        return hashlib.sha256(b"\n".join((self.method.encode(), self.path.encode(), self.body))).hexdigest()


async def begin(ctx: "Context", call: Call) -> tuple[int, Any] | None:
    """None: go ahead. Otherwise status and body of the first answer.

    `Invalid` without a well-formed key, `idempotency_conflict` for another request under the same key, `in_progress`
    while the first is still being answered.
    """
    if not KEY_FORM.fullmatch(call.key):
        raise Invalid.field("Idempotency-Key", "须提供 1–64 位字母、数字、下划线或连字符")
    earlier = await ctx.idempotency.begin(call.id, call.fingerprint, call.started_at)
    if earlier is None:
        return None
    if earlier["fingerprint"] != call.fingerprint:
        raise Conflict(code="idempotency_conflict")
    if earlier["status"] is not None and earlier["answer"] is not None:
        return earlier["status"], json.loads(ctx.cipher.open(earlier["answer"], field=FIELD))
    stale = (call.started_at - earlier["started_at"]).total_seconds() > STALE_SECONDS
    if stale and await ctx.idempotency.take_over(call.id, earlier["started_at"], call.started_at):
        return None
    raise Conflict(code="in_progress", retry_after=1)


async def keep(ctx: "Context", call: Call, status: int, answer: Any) -> None:
    """Keep what was answered; of a call and the one that took it over, the first to end is kept."""
    sealed = ctx.cipher.seal(json.dumps(answer, ensure_ascii=False), field=FIELD)
    await ctx.idempotency.keep(call.id, status, sealed)


async def forget(ctx: "Context", call: Call) -> None:
    """The call was refused; what another one has taken over stays."""
    await ctx.idempotency.forget(call.id, call.started_at)
