"""Counting a rating in the doctor's average."""

from typing import TYPE_CHECKING, Final

from core.directory import service as directory
from core.ids import new_id
from core.jobs import DutyFunction
from core.patients.rules import mask_name
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context


async def count(ctx: "Context", visit: Visit) -> None:
    """Publish the rating under the patient's masked name and count the doctor's anew, so that a repeat is harmless."""
    given = visit["rating"]
    if given is None:
        return
    await ctx.ratings.add(
        {
            "_id": new_id(),
            "visit_id": visit["_id"],
            "doctor_id": visit["doctor_id"],
            "patient_account": visit["patient_account"],
            "author": mask_name(ctx.cipher.open(visit["patient"]["name"], field="patient.name")),
            "stars": given["stars"],
            "text": given["text"],
            "at": given["at"],
            "retain_until": visit["retain_until"],
        }
    )
    await directory.recount_ratings(ctx, visit["doctor_id"])


DUTIES: Final[dict[str, DutyFunction]] = {"visit.count_rating": count}
