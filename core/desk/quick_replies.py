"""Sentences a doctor sends often, kept in the doctor's order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from core.auth import Caller
from core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from core.context import Context

NONE: Final[dict[str, Any]] = {"replies": [], "version": 0}


async def own(ctx: "Context", *, caller: Caller) -> dict[str, Any]:
    """`replies` and `version`; none and 0 while there have never been any."""
    return {**NONE, **(await ctx.quick_replies.get(caller.id) or {})}


async def replace(ctx: "Context", *, caller: Caller, replies: Sequence[str], version: int) -> dict[str, Any]:
    """All of them anew, by who has seen `version`; the same once more changes nothing.

    `Invalid` when they are more than the policy's number, `conflict` when another device has changed them meanwhile.
    """
    most = ctx.policy.quick_replies_per_doctor
    if len(replies) > most:
        raise Invalid.field("replies", f"最多保存 {most} 条快捷回复")
    if not await ctx.quick_replies.replace(caller.id, replies, seen_version=version, at=ctx.clock.now()):
        stored = await own(ctx, caller=caller)
        if stored["replies"] != list(replies):
            raise Conflict
    return await own(ctx, caller=caller)
