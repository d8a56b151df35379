"""What the rest of the hospital asks of calls; fulfils `core.ports.Calls`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rtc import states, steps, views
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context


class LiveCalls:
    """Bound to its context once, after everything has been put together."""

    def __init__(self) -> None:
        self._ctx: Context | None = None

    def bind(self, ctx: "Context") -> None:
        """Give it its context."""
        self._ctx = ctx

    @property
    def ctx(self) -> "Context":
        """The context; one that was never bound is a mistake of the wiring."""
        if self._ctx is None:
            raise RuntimeError("LiveCalls.bind was not called")
        return self._ctx

    async def end_of_visit(self, visit_id: str) -> None:
        """End the visit's live call, if there is one; its reason is `visit_ended`."""
        call = await self.ctx.calls.live("live_visit", visit_id)
        if call is not None:
            await steps.end_all(self.ctx, [call], "close", why="visit_ended")

    async def of(self, account: str, role: str) -> Mapping[str, Any] | None:
        """The live call of a member, as the wire shows it."""
        call = await self.ctx.calls.live("live_doctor" if role == "doctor" else "live_patient", account)
        if call is None:
            return None
        call = await steps.current(self.ctx, call)
        return views.shown(call) if call["status"] in states.LIVE else None

    async def admits(self, call_id: str, account: str) -> bool:
        """Whether the call is live and this account one of its two members."""
        call: Call | None = await self.ctx.calls.get(call_id)
        if call is None or states.side_of(call, account) is None:
            return False
        return (await steps.current(self.ctx, call))["status"] in states.LIVE
