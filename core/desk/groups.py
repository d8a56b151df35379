"""A doctor's groups of patients (D3.1): made, renamed, removed. Nobody else sees them, the patients neither."""

from typing import TYPE_CHECKING, Final

from core.auth import Caller
from core.errors import Conflict, NotFound
from core.ids import new_id
from storage.patient_groups import GroupTaken, PatientGroup

if TYPE_CHECKING:
    from core.context import Context

# Who loses the race for a free place this often meets others at every try.
TRIES: Final = 5


async def own(ctx: "Context", *, caller: Caller) -> list[PatientGroup]:
    """The doctor's groups in the order they were made; there are never more than the policy's number."""
    return await ctx.patient_groups.of_doctor(caller.id)


async def require_own(ctx: "Context", *, caller: Caller, group_id: str) -> PatientGroup:
    """The doctor's group; anybody else's is `NotFound`."""
    group = await ctx.patient_groups.get(group_id)
    if group is None or group["doctor_id"] != caller.id:
        raise NotFound
    return group


async def create(ctx: "Context", *, caller: Caller, name: str) -> PatientGroup:
    """A new group without patients; `duplicate` when the doctor has one of that name, `limit_reached` at the last."""
    now = ctx.clock.now()
    for _ in range(TRIES):
        others = await ctx.patient_groups.of_doctor(caller.id)
        _require_free(others, name)
        group = PatientGroup(
            _id=new_id(),
            doctor_id=caller.id,
            name=name,
            slot=_free_slot(others, ctx.policy.groups_per_doctor),
            patients=[],
            version=1,
            created_at=now,
            updated_at=now,
        )
        try:
            await ctx.patient_groups.add(group)
        except GroupTaken:
            continue  # made at the same moment on another device: the list says which
        return group
    raise Conflict


async def rename(ctx: "Context", *, caller: Caller, group_id: str, name: str) -> PatientGroup:
    """The group under its new name; `duplicate` when another group of the doctor has it."""
    group = await require_own(ctx, caller=caller, group_id=group_id)
    if group["name"] == name:
        return group
    try:
        renamed = await ctx.patient_groups.rename(group_id, name, at=ctx.clock.now())
    except GroupTaken as error:
        raise _duplicate() from error
    if not renamed:
        raise NotFound
    return await require_own(ctx, caller=caller, group_id=group_id)


async def remove(ctx: "Context", *, caller: Caller, group_id: str) -> None:
    """Forget the group; its patients stay the doctor's patients, and in their other groups."""
    await require_own(ctx, caller=caller, group_id=group_id)
    await ctx.patient_groups.remove(group_id)


def _require_free(others: list[PatientGroup], name: str) -> None:
    if name in {group["name"] for group in others}:
        raise _duplicate()


def _duplicate() -> Conflict:
    said = "已有同名的分组"
    return Conflict(said, code="duplicate", errors={"name": [said]})


def _free_slot(others: list[PatientGroup], most: int) -> str:
    taken = {group["slot"] for group in others}
    free = [slot for slot in (f"{number:03}" for number in range(most)) if slot not in taken]
    if len(others) >= most or not free:
        raise Conflict(f"最多可建立 {most} 个分组", code="limit_reached")
    return free[0]
