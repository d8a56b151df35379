"""Visits as people read them: sealed fields opened, names masked in lists, the order and the images beside."""

import json
from typing import TYPE_CHECKING, Any, Final

from core.compliance import age_on
from core.ids import china_today
from core.patients.rules import mask_name
from core.visits.service import ADVICE_FIELD, CONDITION_FIELD
from storage.orders import Order
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

SUMMARY_CHARACTERS: Final = 40


def item(ctx: "Context", visit: Visit) -> dict[str, Any]:
    """One line of a list."""
    condition = json.loads(ctx.cipher.open(visit["condition"], field=CONDITION_FIELD))
    return {
        **visit,
        "id": visit["_id"],
        "doctor": {
            "id": visit["doctor_id"],
            "name": visit["doctor_name"],
            "department_id": visit["department_id"],
        },
        "patient": _patient(ctx, visit, masked=True),
        "condition": condition,
        "summary": condition["description"][:SUMMARY_CHARACTERS],
    }


async def detail(ctx: "Context", visit: Visit) -> dict[str, Any]:
    """All that the two who take part read of it (D5.8)."""
    order: Order | None = await ctx.orders.get(visit["order_id"]) if visit["order_id"] else None
    return {
        **item(ctx, visit),
        "patient": _patient(ctx, visit, masked=False),
        "advice": visit["advice"] and ctx.cipher.open(visit["advice"], field=ADVICE_FIELD),
        "attachments": [_attachment(one) for one in await ctx.media.many(visit["attachments"])],
        "order": order,
        "conversation": visit["_id"],
        "last_seq": await ctx.messages.last_seq(visit["_id"]),
    }


def _patient(ctx: "Context", visit: Visit, *, masked: bool) -> dict[str, Any]:
    patient = visit["patient"]
    name = ctx.cipher.open(patient["name"], field="patient.name")
    guardian = patient["guardian"]
    return {
        **patient,
        "name": mask_name(name) if masked else name,
        "age": age_on(patient["birth_date"], china_today(ctx.clock)),
        "guardian": guardian and {**guardian, "name": ctx.cipher.open(guardian["name"], field="patient.guardian.name")},
    }


def _attachment(medium: Any) -> dict[str, Any]:
    return {**medium, "id": medium["_id"]}
