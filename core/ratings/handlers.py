"""REST of a visit's rating."""

from typing import Any

from core.auth import PARTICIPANTS, PATIENT
from core.http import ApiHandler, endpoint
from core.ratings import service
from core.ratings.schemas import GiveRating, OwnRating, RatingView
from core.wire import Page, page, page_of


class RatingHandler(ApiHandler):
    """The rating of a visit (P1.11)."""

    @endpoint(roles=PARTICIPANTS, summary="查看评价", audits="visit.rating", answer=RatingView(), errors=("not_found",))
    async def get(self, visit_id: str) -> Any:
        """For the two who took part; not found while there is none."""
        return await service.of_visit(self.ctx, caller=self.caller, visit_id=visit_id)

    @endpoint(
        roles=PATIENT,
        summary="评价医生",
        body=GiveRating(),
        answer=RatingView(),
        status=201,
        errors=("not_found", "wrong_state", "already_rated"),
    )
    async def post(self, visit_id: str, body: dict[str, Any]) -> Any:
        """One to five stars and a text, once per visit, after it has ended."""
        return await service.rate(self.ctx, caller=self.caller, visit_id=visit_id, **body)


class OwnRatingsHandler(ApiHandler):
    """What the caller has said of doctors (P4.1)."""

    @endpoint(roles=PATIENT, summary="我的评价", audits="rating.list", query=Page(), answer=page_of(OwnRating))
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first, each with its doctor and visit."""
        return page(await service.own(self.ctx, caller=self.caller, **query), query["limit"])


ROUTES = [
    (r"/api/v1/visits/(\w+)/rating", RatingHandler),
    (r"/api/v1/me/ratings", OwnRatingsHandler),
]
