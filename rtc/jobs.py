"""What calls owe, and what the worker does when a call's time has come or its media process is gone."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from core.accounts import tickets
from core.jobs import DutyFunction
from core.policy import HOUR
from rtc import films, invitations, owners, reconciling, states, steps, views
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

# Who stored a move tells of it at once; a duty that is run later than this finds that nobody may have.
TOLD_WITHIN: Final = timedelta(seconds=1)
# Between two looks for films to make; one that is being made holds up the others of this worker alone.
FILM_SECONDS: Final = 10


async def ring(ctx: "Context", call: Call) -> None:
    """Reach a patient who is not there; should the inviting process have died, ring those who are."""
    if call["status"] == "ringing" and ctx.clock.now() - call["created_at"] > TOLD_WITHIN:
        await steps.tell(ctx, call, "call.ringing")
    await invitations.invite_absent(ctx, call)


async def conclude(ctx: "Context", call: Call) -> None:
    """The card in the chat, once; and the end of what was opened for the call alone."""
    await ctx.journal.append(call["visit_id"], kind="card", body=views.card(call), cause=f"call:{call['_id']}:ended")
    if call["ended_at"] is None or ctx.clock.now() - call["ended_at"] > TOLD_WITHIN:
        await steps.tell(ctx, call)
    await tickets.close_call(ctx, account_id=call["patient_account"], call=call["_id"])
    await tickets.close_call(ctx, account_id=call["doctor_id"], call=call["_id"])
    await films.settle(ctx, call["_id"])


async def deadline(ctx: "Context", call: Call) -> None:
    """Miss, fail, lose or stop a call whose deadline has come; somebody who moved it first has won."""
    if call["status"] in states.LIVE:
        await steps.expire(ctx, call)


DUTIES: Final[dict[str, DutyFunction]] = {"call.ring": ring, "call.conclude": conclude}
DEADLINES: Final[dict[str, DutyFunction]] = {"calls": deadline}
PERIODIC: Final[list[tuple[int, Callable[["Context"], Awaitable[Any]]]]] = [
    (1, owners.release_lost),
    (FILM_SECONDS, films.compose_due),
    (HOUR, reconciling.reconcile),
]
