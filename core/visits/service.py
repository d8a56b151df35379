"""Visits: who may read them, and every move of the table, each one atomic update with what it owes."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import structlog

from core import events, outbox
from core.auth import Actor, Caller
from core.compliance import years_later
from core.directory import service as directory
from core.errors import AWAY, NotFound, WrongState
from core.visits import rules
from storage.moves import duty
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

# A search by name reads the caller's own visits and looks inside, because names are sealed; it ends here.
SEARCHED: Final = 2_000
# A visit makes a few moves in its whole life: who is overtaken this often is told so.
TRIES: Final = 3
CONDITION_FIELD: Final = "visit.condition"
ADVICE_FIELD: Final = "visit.advice"
ENTERED_AT: Final = {"waiting": "submitted_at", "in_progress": "accepted_at"}


async def get(ctx: "Context", visit_id: str) -> Visit | None:
    """A visit by its id."""
    return cast("Visit | None", await ctx.visits.get(visit_id))


async def require_participant(ctx: "Context", caller: Caller, visit_id: str) -> Visit:
    """The visit, for its patient and its doctor; `NotFound` for everybody else."""
    visit = await get(ctx, visit_id)
    if visit is None or not rules.may_read(visit, caller.id):
        raise NotFound
    return visit


async def act(
    ctx: "Context",
    *,
    caller: Caller,
    visit_id: str,
    act: str,
    reason: str | None = None,
    advice: str | None = None,
    refund: bool = False,
) -> Visit:
    """One of the acts of the table by a participant; `WrongState` when the visit is not where the act begins.

    Of two that race exactly one wins. The same act again, by the same person, answers the visit as it stands.
    """
    for _ in range(TRIES):
        visit = await require_participant(ctx, caller, visit_id)
        if _is_repeat(visit, act, caller):
            return visit
        if act == "refund" and not visit["fee"]:
            raise WrongState("本次咨询未收取费用，无需退费")
        if act == "accept":
            await directory.require_licensed(ctx, visit["doctor_id"])
        if act == "refund" and visit["status"] == "completed":
            moved = await _refund_completed(ctx, visit, by=caller.actor, reason=reason)
        else:
            moved = await move(ctx, visit, act, by=caller.actor, reason=reason, advice=advice, refund=refund)
        if moved is not None:
            return moved
    raise WrongState


def _is_repeat(visit: Visit, act: str, caller: Caller) -> bool:
    """Whether the visit stands where this act of the caller's put it; what was only noted since moved nothing."""
    steps = [step for step in visit["history"] if step["act"] == act or step["frm"] != step["to"]]
    return bool(steps) and steps[-1]["act"] == act and steps[-1]["actor"] == caller.id


async def move(
    ctx: "Context",
    visit: Visit,
    act: str,
    *,
    by: Actor,
    reason: str | None = None,
    advice: str | None = None,
    refund: bool = False,
) -> Visit | None:
    """Make the move from where the visit was seen to stand; None: it is not there any more.

    `WrongState` when the table has no such move from there, or not for this role. Settling the order, the line in the
    chat and the licence to speak follow by duty and by push.
    """
    row = rules.MOVES[act]
    frm = visit["status"]
    if frm not in row.frm or by.role not in row.roles:
        raise WrongState
    now = ctx.clock.now()
    sealed = None if advice is None else ctx.cipher.seal(advice, field=ADVICE_FIELD)
    changes: dict[str, Any] = {"reason": reason, "advice": sealed}
    if row.to in ENTERED_AT:
        changes[ENTERED_AT[row.to]] = now
    if row.to in rules.ENDED:
        changes["ended_at"] = now
        changes["retain_until"] = years_later(now, ctx.policy.retain_record_years)
    # Duties run in order: a call must not go on while the gateway is away.
    owed = ["visit.end_call"] if frm == "in_progress" else []
    if rules.settles(row, reason=reason, refund_asked=refund):
        owed.append("visit.settle_order")
    if row.to in rules.ENDED:
        owed.append("visit.retain_patient")
    moved = await ctx.visits.move(
        visit["_id"],
        frm,
        row.to,
        entry=outbox.entry(by, act, frm=frm, to=row.to, at=now, reason=reason),
        duties=[duty(kind, visit["_id"], visit["version"], now) for kind in (*owed, "visit.announce")],
        set=changes,
        deadline_at=rules.deadline_of(row.to, now, ctx.policy),
    )
    if moved is None:
        return None
    await tell(ctx, moved)
    await ctx.duties.run_now("visits", visit["_id"])
    return cast("Visit", await ctx.visits.get(visit["_id"]))


async def _refund_completed(ctx: "Context", visit: Visit, *, by: Actor, reason: str | None) -> Visit | None:
    """Note the refund of a visit that stays completed; None: the visit has changed meanwhile."""
    now = ctx.clock.now()
    if by.role not in rules.DOCTOR or not rules.is_refundable_after_end(visit, now, ctx.policy):
        raise WrongState
    noted = await ctx.visits.note(
        visit["_id"],
        entry=outbox.entry(by, "refund", frm="completed", to="completed", at=now, reason=reason),
        duties=[duty(kind, visit["_id"], visit["version"], now) for kind in ("visit.settle_order", "visit.announce")],
        set={"reason": reason},
        where={"status": "completed", "version": visit["version"]},
    )
    if noted is None:
        return None
    await tell(ctx, noted)
    await ctx.duties.run_now("visits", visit["_id"])
    return cast("Visit", await ctx.visits.get(visit["_id"]))


async def tell(ctx: "Context", visit: Visit) -> None:
    """Push the new state to both sides, and make every process forget what it believed about the visit."""
    await ctx.bus.broadcast("visit.moved", {"visit": visit["_id"]})
    data = {"visit": visit["_id"], "status": visit["status"], "kind": visit["kind"]}
    await events.publish(ctx, "visit.updated", to=rules.readers_of(visit), data=data)
    if rules.changes_desk(visit["history"][-1]):
        await _tell_counts(ctx, visit["doctor_id"])


async def _tell_counts(ctx: "Context", doctor_id: str) -> None:
    """Push the numbers on the doctor's home where the doctor has it open; the store away: the next move tells."""
    if not await ctx.bus.is_online([doctor_id]):
        return
    try:
        counts = await ctx.visits.open_counts(doctor_id)
    except AWAY as error:
        log.warning("desk.counts_away", doctor=doctor_id, error=type(error).__name__)
        return
    data = {"waiting": counts["waiting"], "accepted": counts["in_progress"]}
    await events.publish(ctx, "desk.updated", to=[doctor_id], data=data)


async def page_of(
    ctx: "Context",
    *,
    caller: Caller,
    limit: int,
    cursor: str | None,
    kind: str | None,
    status: str | None,
    patient_id: str | None,
    q: str | None,
) -> list[Visit]:
    """The caller's visits, newest first, one more than `limit` when there are more.

    A doctor does not see what was never paid. `q` looks for a part of the patient's name or the illness.
    """
    statuses: Sequence[str] = status.split(",") if status else ()
    by, value = await _whose(ctx, caller)
    found: list[Visit] = []
    read, before = 0, cursor
    while True:
        batch = await ctx.visits.page(
            by,
            value,
            before=before,
            limit=limit + 1 if q is None else 200,
            statuses=statuses,
            kind=kind,
            patient_id=patient_id,
            submitted=caller.role != "patient",
        )
        found += [visit for visit in batch if q is None or _mentions(ctx, visit, q)]
        read += len(batch)
        if q is None or len(found) > limit or len(batch) < 200 or read >= SEARCHED:
            return found[: limit + 1]
        before = batch[-1]["_id"]


async def _whose(
    ctx: "Context", caller: Caller
) -> tuple[Literal["patient_account", "doctor_id", "department_id"], str]:
    if caller.role == "doctor":
        return "doctor_id", caller.id
    if caller.role == "nurse":
        return "department_id", await _department_of(ctx, caller)
    return "patient_account", caller.id


def _mentions(ctx: "Context", visit: Visit, q: str) -> bool:
    name = ctx.cipher.open(visit["patient"]["name"], field="patient.name")
    condition = json.loads(ctx.cipher.open(visit["condition"], field=CONDITION_FIELD))
    return q in name or any(q in said for said in condition.values())


async def _department_of(ctx: "Context", caller: Caller) -> str:
    account = await ctx.accounts.get(caller.id)
    if account is None or account["department_id"] is None:
        raise NotFound
    return account["department_id"]


async def require_nursed(ctx: "Context", caller: Caller, visit_id: str) -> Visit:
    """A submitted visit of the nurse's department; `NotFound` for any other."""
    visit = await get(ctx, visit_id)
    if visit is None or visit["submitted_at"] is None or visit["department_id"] != await _department_of(ctx, caller):
        raise NotFound
    return visit


async def summary(ctx: "Context", *, caller: Caller) -> dict[str, Any]:
    """The doctor's home: submitted visits by where they stand, and the duty switch."""
    counts = await ctx.visits.counts_of_doctor(caller.id)
    doctor = await ctx.doctors.get(caller.id)
    return {
        "waiting": counts.get("waiting", 0),
        "accepted": counts.get("in_progress", 0),
        "ended": sum(count for status, count in counts.items() if status in rules.ENDED),
        "all": sum(counts.values()),
        "online": bool(doctor and doctor["online"]),
    }
