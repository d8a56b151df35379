"""The hospital's numbers, seen and set by its administrator: within legal bounds, in force at once, never forgotten."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.accounts import elevation
from core.auth import Caller
from core.backoffice import rules
from core.backoffice.setting_names import name_of
from core.errors import Conflict, Invalid
from storage.settings_changes import SettingsChange, Step

if TYPE_CHECKING:
    from core.context import Context


def table(ctx: "Context") -> list[dict[str, Any]]:
    """Every number with its bounds, what it is for, its value now and where that comes from.

    `source` is `office` where it was set here, `environment` where the operator set it, else `default`.
    """
    return [_row(ctx, name) for name in rules.NUMBERS]


async def change(ctx: "Context", *, caller: Caller, values: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Set numbers, or take them back (None), all together; the whole table as it is then.

    `Invalid` naming each that is not settable, with the rule that bounds it; `elevation_required` for one that a rule
    bounds without a fresh proof; `conflict` when somebody changes some at the same moment. Nothing is changed then.
    What already is so is no change.
    """
    rules.require_settable(values)
    await ctx.settings.refresh()
    seen, number = ctx.settings.values, ctx.settings.number
    steps = [Step(name=name, frm=seen.get(name), to=to) for name, to in sorted(values.items()) if seen.get(name) != to]
    if not steps:
        return table(ctx)
    after = {name: value for name, value in {**seen, **values}.items() if value is not None}
    known = {name: value for name, value in after.items() if name in rules.NUMBERS}
    rules.require_consistent(replace(ctx.settings.base, **known))
    if any(step["name"] in rules.NUMBERS and rules.rule_of(step["name"]) is not None for step in steps):
        await elevation.require(ctx, caller)
    made = SettingsChange(
        _id=number + 1, steps=steps, values=after, actor=caller.id, role=caller.role, at=ctx.clock.now()
    )
    if not await ctx.settings_changes.add(made):
        raise Conflict
    await ctx.settings.changed(made)
    return table(ctx)


async def history(ctx: "Context", *, limit: int, cursor: str | None) -> dict[str, Any]:
    """Who changed which number when, from what to what; newest first. `Invalid` for a cursor that is not ours."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise Invalid.field("cursor", "不是有效的翻页位置")
    found = await ctx.settings_changes.page(before=None if cursor is None else int(cursor), limit=limit + 1)
    shown = found[:limit]
    return {"items": shown, "next_cursor": str(shown[-1]["_id"]) if len(found) > limit else None}


def _row(ctx: "Context", name: str) -> dict[str, Any]:
    one = rules.NUMBERS[name]
    base = getattr(ctx.settings.base, name)
    in_force = getattr(ctx.policy, name)
    source = "environment" if base != one.default else "default"
    if name in ctx.settings.values and ctx.settings.values[name] == in_force:
        source = "office"
    return {
        "name": name,
        "title": name_of(name),
        "value": in_force,
        "default": one.default,
        "environment": base,
        "low": one.metadata["low"],
        "high": one.metadata["high"],
        "meaning": one.metadata["meaning"],
        "rule": rules.rule_of(name),
        "settable": not one.metadata["fixed"],
        "source": source,
    }
