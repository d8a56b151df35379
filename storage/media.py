"""The `media` collection: what people uploaded, whose it is, who else may see it. Its bytes: `storage/files.py`."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, TypedDict, cast

from storage.mongo import Store

MediaKind = Literal["image", "video", "file"]
MediaStatus = Literal["uploading", "ready", "discarded"]


class Facts(TypedDict):
    """What is served, measured on the cleaned bytes; before a medium is ready all of it is empty.

    `size` in bytes, `sha256` in hex, `width` and `height` in pixels as shown (None for files), `duration` in seconds
    (videos only), `thumbnail_size` in bytes (None: there is no thumbnail).
    """

    size: int
    sha256: str
    width: int | None
    height: int | None
    duration: float | None
    thumbnail_size: int | None


class Media(Facts):
    """One medium. `type` names the row of the signature table it came in as, `mime` what is served.

    `ready_at` is None until it is ready. `readers` are the accounts that may see it beside its `owner`,
    because it was attached to one of `visits`; `retain_until` is None until then.
    """

    _id: str
    owner: str
    status: MediaStatus
    kind: MediaKind
    type: str
    mime: str
    readers: list[str]
    visits: list[str]
    created_at: datetime
    ready_at: datetime | None
    retain_until: datetime | None


class MediaRepository:
    """Index: (status, created_at), by which unfinished uploads are found. Everything else goes by `_id`."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["media"]

    async def add(self, media: Media) -> None:
        """Store a new medium."""
        await self._docs.insert_one(media)

    async def get(self, media_id: str) -> Media | None:
        """The medium in whatever state."""
        return cast("Media | None", await self._docs.find_one({"_id": media_id}))

    async def many(self, media_ids: Sequence[str]) -> list[Media]:
        """Those that exist, in the order asked for."""
        found = await asyncio.gather(*(self.get(media_id) for media_id in media_ids))
        return [media for media in found if media is not None]

    async def make_ready(self, media_id: str, facts: Facts, *, at: datetime) -> bool:
        """`uploading` → `ready`; False: it was discarded meanwhile."""
        change = {"$set": {"status": "ready", "ready_at": at, **facts}}
        moved = await self._docs.update_one({"_id": media_id, "status": "uploading"}, change)
        return moved.matched_count == 1

    async def discard(self, media_id: str) -> bool:
        """`uploading`, or `ready` and attached to nothing → `discarded`; False: it is neither."""
        change = {"$set": {"status": "discarded"}}
        for named in ({"status": "uploading"}, {"status": "ready", "visits": []}):
            moved = await self._docs.update_one({"_id": media_id, **named}, change)
            if moved.matched_count:
                return True
        return False

    async def remove(self, media_id: str) -> None:
        """Forget a discarded medium; any other stays."""
        await self._docs.delete_one({"_id": media_id, "status": "discarded"})

    async def attach(
        self, media_id: str, *, owner: str, visit_id: str, readers: Collection[str], retain_until: datetime
    ) -> bool:
        """Add the visit and its readers, keep it at least so long; repeatable. False: not a ready one of this owner."""
        change = {
            "$addToSet": {"visits": visit_id, "readers": {"$each": sorted(readers)}},
            "$max": {"retain_until": retain_until},
        }
        done = await self._docs.update_one({"_id": media_id, "owner": owner, "status": "ready"}, change)
        return done.matched_count == 1

    async def made_before(self, status: MediaStatus, moment: datetime, limit: int) -> list[Media]:
        """Up to `limit` media that are in this state and were begun before this time."""
        found = self._docs.find({"status": status, "created_at": {"$lt": moment}}).limit(limit)
        return cast("list[Media]", await found.to_list(limit))
