"""The one way a call changes: a compare-and-set by the table, then both members are told.

Ends are guarded by the state alone, for an end must win against whatever else happens to the call; everything else is
guarded by the version that was read.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from core import events, outbox
from core.auth import SYSTEM, Actor
from core.compliance import years_later
from core.errors import WrongState
from rtc import metrics, states, views
from storage.calls import LIVE_FIELDS, Call, Reason, Status
from storage.moves import duty

if TYPE_CHECKING:
    from core.context import Context

# What an ended call owes: its card in the chat, and the end of what was opened for it.
CONCLUDE: Final = "call.conclude"
ENDED_TOPIC: Final = "call.ended"


async def step(
    ctx: "Context",
    call: Call,
    act: str,
    *,
    by: Actor = SYSTEM,
    set: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    why: str | None = None,
) -> Call | None:
    """Make the move from where the call was seen to stand; None: somebody was faster, which is normal life.

    `WrongState` when the table has no such move from there, or not for this role.
    """
    row = states.STEPS[act]
    frm = call["status"]
    if frm not in row.frm or by.role not in row.roles:
        raise WrongState
    now = ctx.clock.now()
    ends = row.to == "ended"
    changes: dict[str, Any] = dict(set or {})
    if act == "connect":
        changes["started_at"] = now
    if ends:
        changes |= ending(ctx, row.reason)
    moved = await ctx.calls.move(
        call["_id"],
        frm,
        row.to,
        entry=outbox.entry(by, act, frm=frm, to=row.to, at=now, reason=why or row.reason),
        duties=[duty(CONCLUDE, call["_id"], call["version"], now)] if ends else (),
        set=changes,
        unset=LIVE_FIELDS if ends else (),
        deadline_at=states.deadline_of(row.to, now, call["started_at"], ctx.policy),
        where={**({} if ends else {"version": call["version"]}), **(where or {})},
    )
    if moved is None:
        return None
    await entered(ctx, moved, row.to, row.reason)
    return cast("Call", moved)


def ending(ctx: "Context", reason: str | None) -> dict[str, Any]:
    """What an end writes beside the state."""
    now = ctx.clock.now()
    retain_until = years_later(now, ctx.policy.retain_call_years)
    return {"reason": reason, "ended_at": now, "retain_until": retain_until, "owner": None}


async def entered(ctx: "Context", call: Call, status: Status, reason: Reason | None) -> None:
    """A call has come into a state: count it, tell both members, and run what it owes beside the caller."""
    metrics.STATES.labels(status).inc()
    if reason is not None:
        metrics.ENDS.labels(reason).inc()
    await tell(ctx, call)
    if call["duties"]:
        ctx.duties.kick("calls", call["_id"])


async def tell(ctx: "Context", call: Call, event: str = "call.state") -> None:
    """Push the call to all devices of both members; of an end, the processes are told too."""
    await events.publish(ctx, event, to=states.members_of(call), data=views.shown(call))
    if call["status"] == "ended":
        await ctx.bus.broadcast(ENDED_TOPIC, {"call": call["_id"]})


async def current(ctx: "Context", call: Call) -> Call:
    """The call as it stands, after acting on a deadline that has come and that no worker has swept yet."""
    if not states.is_overdue(call, ctx.clock.now()):
        return call
    await expire(ctx, call)
    return cast("Call", await ctx.calls.get(call["_id"]) or call)


async def expire(ctx: "Context", call: Call) -> None:
    """What the deadline of its state asks for; somebody who moved it first has won."""
    act = states.AT_DEADLINE.get(call["status"])
    if act is not None:
        await step(ctx, call, act, where={"deadline_at": call["deadline_at"]}, why="timeout")


async def end_all(ctx: "Context", calls: Iterable[Call], act: str, *, why: str | None = None) -> None:
    """End each of the calls by this act, wherever they are by now; those that have ended stay."""
    for call in calls:
        seen: Call | None = call
        while seen is not None and seen["status"] in states.LIVE:
            if await step(ctx, seen, act, why=why) is not None:
                break
            seen = await ctx.calls.get(seen["_id"])
