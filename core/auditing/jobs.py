"""What the audit trail does by itself: what moves owe to it is copied, and what it holds is sealed."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from core.auditing import sealing

if TYPE_CHECKING:
    from core.context import Context


async def keep_audit_trail(ctx: "Context") -> None:
    """Copy and seal, by whichever worker holds the lease."""
    await sealing.keep(ctx)


# Seconds between two runs, and what is run.
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[Any]]]]] = [(3, keep_audit_trail)]
