"""The `idempotency` collection: the first answer to a keyed POST, kept for seven days."""

from datetime import datetime
from typing import Any, TypedDict, cast

from storage.mongo import DuplicateKey, Store


class Kept(TypedDict):
    """One keyed call: `status` and `answer` are None while it runs."""

    _id: str
    fingerprint: str
    status: int | None
    answer: Any
    started_at: datetime


class IdempotencyRepository:
    """`_id` is account and key. Expires by a TTL index on `started_at`: these are not legal records."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["idempotency"]

    async def begin(self, key: str, fingerprint: str, now: datetime) -> Kept | None:
        """Note that the call runs; the earlier note when there is one, None when this is the first."""
        try:
            await self._docs.insert_one(
                {"_id": key, "fingerprint": fingerprint, "status": None, "answer": None, "started_at": now}
            )
        except DuplicateKey:
            return cast("Kept | None", await self._docs.find_one({"_id": key}))
        return None

    async def take_over(self, key: str, seen: datetime, now: datetime) -> bool:
        """Take the note of a call whose process died; False: someone was faster."""
        taken = await self._docs.update_one(
            {"_id": key, "started_at": seen, "status": None}, {"$set": {"started_at": now}}
        )
        return bool(taken.matched_count)

    async def keep(self, key: str, status: int, answer: Any) -> None:
        """Keep the first answer."""
        await self._docs.update_one({"_id": key}, {"$set": {"status": status, "answer": answer}})

    async def forget(self, key: str) -> None:
        """The call was refused and changed nothing: the key may be used again."""
        await self._docs.delete_one({"_id": key, "status": None})
