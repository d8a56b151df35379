"""What patients said of the doctor who asks (D4.3)."""

from typing import TYPE_CHECKING, Any

from core.auth import Caller
from core.directory import service as directory
from core.wire import page

if TYPE_CHECKING:
    from core.context import Context


async def page_of(ctx: "Context", *, caller: Caller, limit: int, cursor: str | None) -> dict[str, Any]:
    """Ratings newest first under masked names, with the average and how many gave each number of stars, over all."""
    stars = await ctx.ratings.stars_of_doctor(caller.id)
    ratings = await ctx.ratings.page_of_doctor(caller.id, before=cursor, limit=limit + 1)
    count = sum(stars.values())
    return page(ratings, limit) | {
        "average": directory.average(sum(star * number for star, number in stars.items()), count),
        "count": count,
        "distribution": {str(star): stars.get(star, 0) for star in range(1, 6)},
    }
