"""The patients who have consulted a doctor (D3.1): found, sorted into groups, and their history with this doctor."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from core.auth import Caller
from core.compliance import age_on, mask_name
from core.desk import groups, rules
from core.errors import Conflict, NotFound
from core.ids import china_today
from storage.patient_groups import PatientGroup
from storage.visits import Consulted, Visit

if TYPE_CHECKING:
    from core.context import Context

# Names are sealed: a search opens those of the doctor's own patients, this many at a time, and answers after the
# second number with what it has and where to go on.
BATCH: Final = 500
SEARCHED: Final = 2_000


async def page_of(
    ctx: "Context", *, caller: Caller, limit: int, cursor: str | None, group: str | None, q: str | None
) -> dict[str, Any]:
    """Who has ever submitted a visit to this doctor, by the newest visit, names masked (R6-5).

    `group` keeps those in that group (`NotFound` unless it is the doctor's), `q` those with it in their name. What is
    submitted after the first page is in none of the next ones, see `rules.Place`.
    """
    place = rules.read_place(cursor)
    until = place.until if place else ctx.clock.now()
    among = None
    if group is not None:
        among = (await groups.require_own(ctx, caller=caller, group_id=group))["patients"]
    shown, last = await _look(ctx, caller, place, until=until, limit=limit, among=among, q=q)
    sorted_into = await groups.own(ctx, caller=caller)
    return {
        "items": [_view(ctx, one, sorted_into, masked=True) for one in shown],
        "next_cursor": last and rules.write_place(rules.Place(last, until)),
    }


async def _look(
    ctx: "Context",
    caller: Caller,
    place: rules.Place | None,
    *,
    until: Any,
    limit: int,
    among: Collection[str] | None,
    q: str | None,
) -> tuple[list[Consulted], str | None]:
    """A page, and the visit below which there may be more; None at the end."""
    shown: list[Consulted] = []
    read, before = 0, place.last if place else None
    size = limit + 1 if q is None else BATCH
    while True:
        batch = await ctx.visits.patients_of_doctor(caller.id, until=until, before=before, limit=size, among=among)
        shown += [one for one in batch if q is None or q in _name(ctx, one)]
        read += len(batch)
        if len(shown) > limit:
            return shown[:limit], shown[limit - 1]["last"]
        if len(batch) < size:
            return shown, None
        before = batch[-1]["last"]
        if read >= SEARCHED:
            return shown, before


async def require_consulted(ctx: "Context", *, caller: Caller, patient_id: str) -> Consulted:
    """A patient who has submitted a visit to this doctor; `NotFound` for all others."""
    found = await ctx.visits.patients_of_doctor(
        caller.id, until=ctx.clock.now(), before=None, limit=1, among=[patient_id]
    )
    if not found:
        raise NotFound
    return found[0]


async def open_record(
    ctx: "Context", *, caller: Caller, patient_id: str, limit: int, cursor: str | None
) -> tuple[dict[str, Any], list[Visit]]:
    """The patient with the name in full, and a page of the visits with this doctor, one more when there are more.

    `NotFound` for whoever has not consulted this doctor. What other doctors were told is not in it.
    """
    consulted = await require_consulted(ctx, caller=caller, patient_id=patient_id)
    visits = await ctx.visits.page(
        "doctor_id", caller.id, before=cursor, limit=limit + 1, patient_id=patient_id, submitted=True
    )
    return _view(ctx, consulted, await groups.own(ctx, caller=caller), masked=False), visits


async def put_into_group(ctx: "Context", *, caller: Caller, group_id: str, patient_id: str) -> None:
    """Sort a patient into a group, however often it is asked for.

    `NotFound` for another doctor's group or whoever has not consulted this one, `limit_reached` when the group is full.
    """
    await groups.require_own(ctx, caller=caller, group_id=group_id)
    await require_consulted(ctx, caller=caller, patient_id=patient_id)
    most = ctx.policy.patients_per_group
    if await ctx.patient_groups.put(group_id, patient_id, most=most, at=ctx.clock.now()):
        return
    group = await groups.require_own(ctx, caller=caller, group_id=group_id)
    if patient_id not in group["patients"]:
        raise Conflict(f"每个分组最多 {most} 位患者", code="limit_reached")


async def take_out_of_group(ctx: "Context", *, caller: Caller, group_id: str, patient_id: str) -> None:
    """Take a patient out of a group, in it or not; `NotFound` for another doctor's group."""
    await groups.require_own(ctx, caller=caller, group_id=group_id)
    await ctx.patient_groups.take_out(group_id, patient_id, at=ctx.clock.now())


def _name(ctx: "Context", consulted: Consulted) -> str:
    return ctx.cipher.open(consulted["patient"]["name"], field="patient.name")


def _view(
    ctx: "Context", consulted: Consulted, sorted_into: Collection[PatientGroup], *, masked: bool
) -> dict[str, Any]:
    patient, name = consulted["patient"], _name(ctx, consulted)
    return {
        "id": consulted["_id"],
        "name": mask_name(name) if masked else name,
        "gender": patient["gender"],
        "birth_date": patient["birth_date"],
        "age": age_on(patient["birth_date"], china_today(ctx.clock)),
        "visits": consulted["visits"],
        "last_visit": {"id": consulted["last"], "submitted_at": consulted["at"]},
        "groups": [group for group in sorted_into if consulted["_id"] in group["patients"]],
    }
