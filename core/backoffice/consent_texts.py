"""The texts patients agree to: new versions only; what was once published stays word for word (R3-1)."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.auth import Caller
from core.directory import service as directory
from core.errors import Conflict, Invalid
from storage.consent_texts import ConsentText

if TYPE_CHECKING:
    from core.context import Context


async def every(ctx: "Context", kind: str | None) -> list[dict[str, Any]]:
    """All versions, of one kind or of all, the latest first within each; `in_force` marks the one patients read."""
    now = ctx.clock.now()
    shown: list[dict[str, Any]] = []
    begun: set[str] = set()
    for text in await ctx.consent_texts.every():
        holds = text["effective_at"] <= now and text["kind"] not in begun
        if text["effective_at"] <= now:
            begun.add(text["kind"])
        if kind is None or text["kind"] == kind:
            shown.append({**text, "in_force": holds})
    return shown


async def publish(
    ctx: "Context", *, caller: Caller, kind: str, version: str, title: str, body: str, effective_from: datetime | None
) -> ConsentText:
    """A new version with its SHA-256, in force from a moment that is not past, else from now on.

    `duplicate` when the version exists, which stays as it is; `Invalid` for a moment in the past, because people have
    agreed to another text then.
    """
    now = ctx.clock.now()
    if effective_from is not None and effective_from < now:
        raise Invalid.field("effective_from", "生效时间不能早于现在")
    published = await directory.publish_consent_text(
        ctx,
        kind=kind,
        version=version,
        title=title,
        body=body,
        effective_at=effective_from or now,
        by=caller.id,
    )
    if not published:
        raise Conflict("该文书已有此版本号", code="duplicate", errors={"version": ["该文书已有此版本号"]})
    return await directory.consent_text(ctx, kind, version)
