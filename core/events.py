"""Telling people: one door from the services to whoever has a socket open. A push is a hint, the store is the truth."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.context import Context


async def publish(ctx: "Context", event: str, *, to: Collection[str], data: Mapping[str, Any]) -> None:
    """Push `event` to every socket of these accounts, in whatever process; never raises, never waits for a store.

    `data` is what the wire carries: JSON values only, times already RFC 3339.
    """
    await ctx.bus.publish([{"to": sorted(set(to)), "ev": event, "data": dict(data)}])
