"""The `quick_replies` collection: sentences a doctor sends often, one document a doctor."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store


class QuickReplies(TypedDict):
    """`_id` is the doctor's account; `replies` in the doctor's order."""

    _id: str
    replies: list[str]
    version: int
    updated_at: datetime


class QuickReplyRepository:
    """Replaced as a whole, by who has seen what stands there."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["quick_replies"]

    async def get(self, doctor_id: str) -> QuickReplies | None:
        """The doctor's sentences; None while there have never been any."""
        return cast("QuickReplies | None", await self._docs.find_one({"_id": doctor_id}))

    async def replace(self, doctor_id: str, replies: Sequence[str], *, seen_version: int, at: datetime) -> bool:
        """Write all of them; `seen_version` 0 where there were none. False: others stand there by now."""
        if seen_version == 0:
            first = QuickReplies(_id=doctor_id, replies=list(replies), version=1, updated_at=at)
            try:
                await self._docs.insert_one(first)
            except DuplicateKey:
                return False
            return True
        replaced = await self._docs.update_one(
            {"_id": doctor_id, "version": seen_version},
            {"$set": {"replies": list(replies), "updated_at": at}, "$inc": {"version": 1}},
        )
        return bool(replaced.matched_count)
