"""The `ratings` collection: stars and words of patients about a finished visit."""

from datetime import datetime
from typing import Any, TypedDict, cast

from storage.mongo import DuplicateKey, Store


class Rating(TypedDict):
    """`author` is the patient's name already masked, because these are read by everybody (R6-5); `stars` 1 to 5."""

    _id: str
    visit_id: str
    doctor_id: str
    patient_account: str
    author: str
    stars: int
    text: str
    at: datetime
    retain_until: datetime


class RatingRepository:
    """Unique index: visit_id. Written once, never changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._docs = store.db["ratings"]

    async def add(self, rating: Rating) -> bool:
        """Store a rating; False: this visit has been rated."""
        try:
            await self._docs.insert_one(rating)
        except DuplicateKey:
            return False
        return True

    async def of_visit(self, visit_id: str) -> Rating | None:
        """The one rating of a visit."""
        return cast("Rating | None", await self._docs.find_one({"visit_id": visit_id}))

    async def page_of_doctor(self, doctor_id: str, *, before: str | None, limit: int) -> list[Rating]:
        """Newest first below `before`, at most `limit`."""
        return await self._page({"doctor_id": doctor_id}, before, limit)

    async def page_of_account(self, account: str, *, before: str | None, limit: int) -> list[Rating]:
        """What a patient's account has given, newest first below `before`, at most `limit` (P4.1)."""
        return await self._page({"patient_account": account}, before, limit)

    async def sum_of_doctor(self, doctor_id: str) -> tuple[int, int]:
        """The sum of all stars a doctor was given, and how many gave them."""
        groups = await self._store.aggregate(
            self._docs,
            [
                {"$match": {"doctor_id": doctor_id}},
                {"$group": {"_id": None, "stars": {"$sum": "$stars"}, "count": {"$sum": 1}}},
            ],
        )
        return (int(groups[0]["stars"]), int(groups[0]["count"])) if groups else (0, 0)

    async def stars_of_doctor(self, doctor_id: str) -> dict[int, int]:
        """How many ratings of each number of stars a doctor was given; numbers nobody gave are not there."""
        groups = await self._store.aggregate(
            self._docs,
            [{"$match": {"doctor_id": doctor_id}}, {"$group": {"_id": "$stars", "count": {"$sum": 1}}}],
        )
        return {int(group["_id"]): int(group["count"]) for group in groups}

    async def _page(self, owner: dict[str, Any], before: str | None, limit: int) -> list[Rating]:
        wanted = owner if before is None else {**owner, "_id": {"$lt": before}}
        found = await self._docs.find(wanted).sort("_id", -1).limit(limit).to_list(limit)
        return cast("list[Rating]", found)
