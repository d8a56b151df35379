"""Ratings: given once, by the patient, to a visit that has taken place; counted in the doctor's average."""

from typing import TYPE_CHECKING, Any

from core import outbox
from core.auth import Caller
from core.errors import Conflict, NotFound, WrongState
from core.visits import rules as visit_rules
from core.visits import service as visits
from storage.moves import duty
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context


async def rate(ctx: "Context", *, caller: Caller, visit_id: str, stars: int, text: str) -> dict[str, Any]:
    """Rate a completed or terminated visit within the time for it (R6-9).

    `WrongState` outside of that, `already_rated` the second time. The doctor's average follows by duty.
    """
    visit = await visits.require_participant(ctx, caller, visit_id)
    if visit["rating"] is not None:
        raise Conflict(code="already_rated")
    now = ctx.clock.now()
    if not visit_rules.is_rateable(visit, now, ctx.policy):
        raise WrongState
    rating = {"stars": stars, "text": text, "at": now}
    rated = await ctx.visits.rate(
        visit_id,
        rating,
        entry=outbox.entry(caller.actor, "rate", frm=visit["status"], to=visit["status"], at=now),
        duty=duty("visit.count_rating", visit_id, visit["version"], now),
    )
    if not rated:
        raise Conflict(code="already_rated")
    await ctx.duties.run_now("visits", visit_id)
    return rating


async def own(ctx: "Context", *, caller: Caller, limit: int, cursor: str | None) -> list[dict[str, Any]]:
    """What the caller has said of doctors, newest first, one more than `limit` when there are more (P4.1)."""
    ratings = await ctx.ratings.page_of_account(caller.id, before=cursor, limit=limit + 1)
    rated = await ctx.visits.many([rating["visit_id"] for rating in ratings])
    return [{**rating, **_subject(rated[rating["visit_id"]])} for rating in ratings]


def _subject(visit: Visit) -> dict[str, Any]:
    """Who and what was rated, the doctor under the name and department of that day."""
    return {
        "doctor": {"id": visit["doctor_id"], "name": visit["doctor_name"], "department_id": visit["department_id"]},
        "visit": {**visit, "id": visit["_id"]},
    }


async def of_visit(ctx: "Context", *, caller: Caller, visit_id: str) -> dict[str, Any]:
    """The rating, for the two who took part; `NotFound` when there is none."""
    visit = await visits.require_participant(ctx, caller, visit_id)
    if visit["rating"] is None:
        raise NotFound
    return visit["rating"]
