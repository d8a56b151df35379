"""What the hospital's administrators keep: the consultation types patients choose from (P1.4).

A change is one atomic update of one document and takes effect with the next request. Types are never deleted, because
visits name them, only disabled.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import outbox
from core.auth import Caller
from core.errors import Conflict, NotFound
from core.ids import new_id
from storage.consult_types import ConsultType, NameTaken

if TYPE_CHECKING:
    from core.context import Context

# What a change of each field is called in the history.
ACTS: Mapping[str, str] = {"name": "rename", "description": "describe", "order": "reorder", "enabled": "enable"}


async def consult_types(ctx: "Context") -> list[ConsultType]:
    """All types, disabled ones too, in their order."""
    return await ctx.consult_types.every()


async def create_consult_type(
    ctx: "Context",
    *,
    caller: Caller,
    name: str,
    description: str,
    order: int | None,
    enabled: bool,
    id_: str | None = None,
) -> ConsultType:
    """A new type, last in the list without an `order`; `duplicate` when the name, or a given id, is taken."""
    now = ctx.clock.now()
    if order is None:
        order = 1 + max((one["order"] for one in await ctx.consult_types.every()), default=0)
    made = ConsultType(
        _id=id_ or new_id(),
        name=name,
        description=description,
        order=order,
        enabled=enabled,
        version=1,
        created_at=now,
        updated_at=now,
        history=[outbox.entry(caller.actor, "create", frm=name, to=name, at=now)],
    )
    if not await ctx.consult_types.add(made):
        raise Conflict("已有同名的咨询类型", code="duplicate", errors={"name": ["已有同名的咨询类型"]})
    return made


async def change_consult_type(
    ctx: "Context", *, caller: Caller, consult_type_id: str, changes: Mapping[str, Any]
) -> ConsultType:
    """Rename, describe, reorder, enable or disable; what already is so is no change.

    `conflict` when `changes["version"]` is not the type's any more or somebody changes it at the same moment,
    `duplicate` when another type has the name; nothing is changed then.
    """
    seen = await ctx.consult_types.get(consult_type_id)
    if seen is None:
        raise NotFound
    if changes.get("version", seen["version"]) != seen["version"]:
        raise Conflict
    before: Mapping[str, Any] = {field: seen[field] for field in ("name", "description", "order", "enabled")}
    values = {field: value for field, value in changes.items() if field in before and value != before[field]}
    if not values:
        return seen
    now = ctx.clock.now()
    entries = [
        outbox.entry(caller.actor, _act(field, value), frm=str(before[field]), to=str(value), at=now)
        for field, value in values.items()
    ]
    try:
        changed = await ctx.consult_types.change(
            consult_type_id, seen_version=seen["version"], values=values, entries=entries, at=now
        )
    except NameTaken as error:
        raise Conflict("已有同名的咨询类型", code="duplicate", errors={"name": ["已有同名的咨询类型"]}) from error
    after = await ctx.consult_types.get(consult_type_id)
    if not changed or after is None:
        raise Conflict
    return after


def _act(field: str, value: Any) -> str:
    return "disable" if field == "enabled" and not value else ACTS[field]
