"""The `uploads` collection: files that come in several requests. Their bytes: `storage/pieces.py`."""

from datetime import datetime
from typing import Literal, TypedDict, cast

from storage.mongo import Store

UploadStatus = Literal["open", "received", "ready", "discarded"]


class Upload(TypedDict):
    """One upload. `length` and `offset` in bytes; `offset` may lag behind the stored pieces, never run ahead of them.

    `open` takes bytes, `received` has them all, `ready` has become the medium `media_id`, `discarded` was refused,
    ended by its owner or came too late. `declared` is the type its owner named, `metadata` what else they said, as they
    said it. Whoever examines it holds it until `claimed_until`; `attempts` are the media they began, `media_id` is the
    last of these.
    """

    _id: str
    owner: str
    status: UploadStatus
    length: int
    offset: int
    declared: str
    metadata: str
    media_id: str | None
    attempts: list[str]
    claimed_until: datetime
    created_at: datetime
    expires_at: datetime


class UploadRepository:
    """Indexes: (status, expires_at), (status, claimed_until), by which the sweeps find theirs."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["uploads"]

    async def add(self, upload: Upload) -> None:
        """Store a new upload."""
        await self._docs.insert_one(upload)

    async def get(self, upload_id: str) -> Upload | None:
        """The upload in whatever state."""
        return cast("Upload | None", await self._docs.find_one({"_id": upload_id}))

    async def advance(self, upload_id: str, offset: int) -> bool:
        """Note that the pieces reach so far; False: it is no longer open."""
        return await self._change(upload_id, "open", {"$max": {"offset": offset}})

    async def receive(self, upload_id: str, *, at: datetime) -> bool:
        """`open` → `received`, nobody's to examine yet; False: it was not open."""
        return await self._change(upload_id, "open", {"$set": {"status": "received", "claimed_until": at}})

    async def claim(self, upload_id: str, media_id: str, *, at: datetime, until: datetime) -> bool:
        """Take a received upload to examine it as `media_id`; False: another has it, or there is nothing to examine."""
        change = {"$set": {"claimed_until": until, "media_id": media_id}, "$addToSet": {"attempts": media_id}}
        free = {"_id": upload_id, "status": "received", "claimed_until": {"$lte": at}}
        done = await self._docs.update_one(free, change)
        return done.matched_count == 1

    async def release(self, upload_id: str, media_id: str, *, at: datetime) -> None:
        """Let others try; nothing happens when another has claimed it since."""
        held = {"_id": upload_id, "status": "received", "media_id": media_id}
        await self._docs.update_one(held, {"$set": {"claimed_until": at}})

    async def make_ready(self, upload_id: str, media_id: str) -> bool:
        """`received` → `ready`; False: another has claimed it since, or it was discarded."""
        held = {"_id": upload_id, "status": "received", "media_id": media_id}
        done = await self._docs.update_one(held, {"$set": {"status": "ready"}})
        return done.matched_count == 1

    async def discard(self, upload_id: str, status: UploadStatus) -> bool:
        """This state → `discarded`, its metadata forgotten, and the medium that it had become; False: not in it."""
        forgotten: dict[str, object] = {"status": "discarded", "metadata": ""}
        if status == "ready":
            forgotten |= {"media_id": None, "attempts": []}
        return await self._change(upload_id, status, {"$set": forgotten})

    async def remove(self, upload_id: str) -> None:
        """Forget a discarded or finished upload; any other stays."""
        for status in ("discarded", "ready"):
            await self._docs.delete_one({"_id": upload_id, "status": status})

    async def expired(self, status: UploadStatus, moment: datetime, limit: int) -> list[Upload]:
        """Up to `limit` uploads in this state whose time was over before this moment."""
        found = self._docs.find({"status": status, "expires_at": {"$lt": moment}}).limit(limit)
        return cast("list[Upload]", await found.to_list(limit))

    async def unclaimed(self, moment: datetime, limit: int) -> list[Upload]:
        """Up to `limit` received uploads that nobody is examining."""
        found = self._docs.find({"status": "received", "claimed_until": {"$lte": moment}}).limit(limit)
        return cast("list[Upload]", await found.to_list(limit))

    async def _change(self, upload_id: str, status: str, change: dict[str, object]) -> bool:
        done = await self._docs.update_one({"_id": upload_id, "status": status}, change)
        return done.matched_count == 1
