"""The hospital's departments, kept by its administrator; a change is on every page at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import data, outbox
from core.auth import Caller
from core.backoffice import changes
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from storage.departments import Department

if TYPE_CHECKING:
    from core.context import Context


async def every(ctx: "Context") -> list[Department]:
    """All departments with their history, in their order."""
    return sorted(await ctx.departments.every(), key=lambda one: (one["order"], one["_id"]))


async def create(
    ctx: "Context", *, caller: Caller, code: str, name: str, introduction: str, order: int | None
) -> Department:
    """A new department, last in the list without an `order`; `Invalid` for what is no official subject code."""
    _require_subject(code)
    now = ctx.clock.now()
    if order is None:
        order = 1 + max((one["order"] for one in await ctx.departments.every()), default=0)
    made = Department(
        _id=new_id(),
        code=code,
        name=name,
        introduction=introduction,
        order=order,
        version=1,
        history=[outbox.entry(caller.actor, "create", frm=name, to=name, at=now)],
        created_at=now,
        updated_at=now,
    )
    await ctx.departments.add(made)
    await ctx.catalogue.changed()
    return made


async def change(ctx: "Context", *, caller: Caller, department_id: str, values: Mapping[str, Any]) -> Department:
    """Rename, describe, reorder, or correct the subject code; what already is so is no change.

    `conflict` when somebody changes it at the same moment or `values["version"]` is not its version any more, `Invalid`
    for what is no official subject code; nothing is changed then.
    """
    seen = await ctx.departments.get(department_id)
    if seen is None:
        raise NotFound
    if "code" in values:
        _require_subject(values["code"])
    version = seen.get("version", 1)
    if values.get("version", version) != version:
        raise Conflict
    wanted = changes.differing(seen, {name: value for name, value in values.items() if name != "version"})
    if not wanted:
        return seen
    now = ctx.clock.now()
    entries = changes.entries(caller, seen, wanted, at=now)
    changed = await ctx.departments.change(seen, wanted, entries=entries, at=now)
    after = await ctx.departments.get(department_id)
    if not changed or after is None:
        raise Conflict
    await ctx.catalogue.changed()
    return after


def _require_subject(code: str) -> None:
    if all(row["code"] != code for row in data.table("subjects")):
        raise Invalid.field("code", "不是诊疗科目名录中的代码")
