"""The `consent_texts` collection: what patients agree to, every version word for word, for ever (R3-1)."""

from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store


class ConsentText(TypedDict):
    """`hash` is the SHA-256 of `body` in UTF-8, hexadecimal; in force from `effective_at` until a later one is."""

    _id: str
    kind: str
    version: str
    title: str
    body: str
    hash: str
    effective_at: datetime
    created_at: datetime
    created_by: str


def text_id(kind: str, version: str) -> str:
    """The `_id` of a version of a text: two people cannot publish the same version twice."""
    return f"{kind}:{version}"


class ConsentTextRepository:
    """`_id` is kind and version. There is no way to change or remove one."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["consent_texts"]

    async def add(self, text: ConsentText) -> bool:
        """Publish a version; False: this version of this text exists, and stays as it is."""
        try:
            await self._docs.insert_one(text)
        except DuplicateKey:
            return False
        return True

    async def get(self, kind: str, version: str) -> ConsentText | None:
        """One version, in force or not."""
        return cast("ConsentText | None", await self._docs.find_one({"_id": text_id(kind, version)}))

    async def in_force(self, kind: str, now: datetime) -> ConsentText | None:
        """The version that came into force last, not later than `now`."""
        found = await self._docs.find({"kind": kind, "effective_at": {"$lte": now}}).to_list(None)
        texts = cast("list[ConsentText]", found)
        return max(texts, key=lambda text: (text["effective_at"], text["created_at"], text["_id"]), default=None)
