"""What the media processes tell of the legs of a call, and who holds a call's media.

Every change here is bound to the process that tells it: one that has been given up for lost changes nothing any more.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from core.errors import WrongState
from rtc import metrics, states, steps
from storage.calls import Call, Leg, LegState, Side

if TYPE_CHECKING:
    from core.context import Context

# A call has two legs and two members: who is overtaken this often is told so.
TRIES: Final = 20


async def claim(ctx: "Context", call_id: str, *, seen: str | None, process: str) -> Call | None:
    """Take the media of an answered call whose owner was seen to be nobody or lost; None: somebody else has it."""
    if seen is not None:
        await release(ctx, call_id, owner=seen)
    call: Call | None = await ctx.calls.get(call_id)
    if call is None or call["status"] not in states.ANSWERED or call["owner"] is not None:
        return None
    noted: Call | None = await ctx.calls.note(
        call_id, at=ctx.clock.now(), set={"owner": process}, where={"version": call["version"], "owner": None}
    )
    if noted is not None:
        await steps.tell(ctx, noted)
    return noted


async def release(ctx: "Context", call_id: str, *, owner: str) -> None:
    """The owner is gone, or goes: what it held must be offered anew, and whoever is asked first takes it."""

    def gone(call: Call) -> dict[Side, Leg]:
        return states.without_media(call["legs"])

    if await _change(ctx, call_id, owner, gone, also={"owner": None}, why="media_lost") is not None:
        metrics.RELEASED.inc()


async def changed(
    ctx: "Context", call_id: str, *, owner: str, side: Side, generation: int, state: LegState, why: str | None = None
) -> Call | None:
    """A leg has come into a state, and the call with it where that follows; None: not the owner's to tell any more."""

    def with_it(call: Call) -> dict[Side, Leg] | None:
        return states.with_leg(call["legs"], side, generation, state)

    call = await _change(ctx, call_id, owner, with_it, why=why)
    if call is not None:
        metrics.LEGS.labels(state).inc()
    return call


async def _change(
    ctx: "Context",
    call_id: str,
    owner: str,
    legs_after: Any,
    *,
    also: Mapping[str, Any] | None = None,
    why: str | None = None,
) -> Call | None:
    """Write the legs and move the call as they ask for it; the call after, or None when it is not the owner's."""
    for _ in range(TRIES):
        call: Call | None = await ctx.calls.get(call_id)
        if call is None or call["status"] not in states.ANSWERED or call["owner"] != owner:
            return None
        legs = legs_after(call)
        if legs is None:
            return call
        values: dict[str, Any] = {"legs": legs, **(also or {})}
        if call["recording_since"] is None and any(leg["state"] == "connected" for leg in legs.values()):
            values["recording_since"] = ctx.clock.now()
        act = states.act_of(call["status"], legs)
        if act is not None:
            moved = await steps.step(ctx, call, act, set=values, where={"owner": owner}, why=why)
            if moved is not None:
                return moved
            continue
        guard = {"version": call["version"], "owner": owner}
        noted: Call | None = await ctx.calls.note(call_id, at=ctx.clock.now(), set=values, where=guard)
        if noted is not None:
            await steps.tell(ctx, noted)
            return noted
    raise WrongState


async def lose(ctx: "Context", call_id: str, *, owner: str, side: Side, generation: int) -> None:
    """Nothing has come of a leg for so long that the call is over, if it had begun; the leg is lost in any case."""
    call = await changed(ctx, call_id, owner=owner, side=side, generation=generation, state="lost", why="silent")
    while call is not None and call["status"] in ("active", "reconnecting"):
        if call["owner"] != owner or call["legs"][side]["generation"] != generation:
            return
        if await steps.step(ctx, call, "lose", where={"owner": owner, "version": call["version"]}, why="silent"):
            return
        call = await ctx.calls.get(call_id)
