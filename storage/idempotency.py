"""The `idempotency` collection: the first answer to a keyed POST, kept for seven days."""

from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store


class Kept(TypedDict):
    """One keyed call: `status` and `answer`, which is sealed, are None while it runs."""

    _id: str
    fingerprint: str
    status: int | None
    answer: str | None
    started_at: datetime


class IdempotencyRepository:
    """`_id` is account and key. Expires by a TTL index on `started_at`: these are not legal records."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["idempotency"]

    async def begin(self, key: str, fingerprint: str, now: datetime) -> Kept | None:
        """Note that the call runs; the earlier note when there is one, None when this is the first."""
        note = Kept(_id=key, fingerprint=fingerprint, status=None, answer=None, started_at=now)
        while True:
            try:
                await self._docs.insert_one(note)
            except DuplicateKey:
                earlier = await self._docs.find_one({"_id": key})
                if earlier is not None:
                    return cast("Kept", earlier)
                # Forgotten between the two: nobody's any more, so it can be ours.
            else:
                return None

    async def take_over(self, key: str, seen: datetime, now: datetime) -> bool:
        """Take the note of a call whose process died; False: someone was faster."""
        taken = await self._docs.update_one(
            {"_id": key, "started_at": seen, "status": None}, {"$set": {"started_at": now}}
        )
        return bool(taken.matched_count)

    async def keep(self, key: str, status: int, answer: str) -> None:
        """Keep the first answer; a later one of the same call changes nothing."""
        await self._docs.update_one({"_id": key, "status": None}, {"$set": {"status": status, "answer": answer}})

    async def forget(self, key: str, started_at: datetime) -> None:
        """The call begun then was refused and changed nothing: the key may be used again."""
        await self._docs.delete_one({"_id": key, "status": None, "started_at": started_at})
