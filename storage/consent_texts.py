"""The `consent_texts` collection: what patients agree to, every version word for word, for ever (R3-1)."""

from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.traced import UNTRACED, Traced, owed


class NewConsentText(TypedDict):
    """`hash` is the SHA-256 of `body` in UTF-8, hexadecimal; in force from `effective_at` until a later one is."""

    kind: str
    version: str
    title: str
    body: str
    hash: str
    effective_at: datetime
    created_at: datetime
    created_by: str


class ConsentText(NewConsentText):
    """A text as stored; `_id` is kind and version, so that nobody can publish the same version twice."""

    _id: str


def _id_of(kind: str, version: str) -> str:
    return f"{kind}:{version}"


class ConsentTextRepository(Traced):
    """There is no way to change or remove a text."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["consent_texts"])

    async def add(self, text: NewConsentText) -> bool:
        """Publish a version; False: this version of this text exists, and stays as it is."""
        try:
            document = {**text, "_id": _id_of(text["kind"], text["version"])}
            await self._docs.insert_one(owed(document, text["created_at"]))
        except DuplicateKey:
            return False
        return True

    async def get(self, kind: str, version: str) -> ConsentText | None:
        """One version, in force or not."""
        return cast("ConsentText | None", await self._docs.find_one({"_id": _id_of(kind, version)}, UNTRACED))

    async def in_force(self, kind: str, now: datetime) -> ConsentText | None:
        """The version that came into force last, not later than `now`."""
        found = await self._docs.find({"kind": kind, "effective_at": {"$lte": now}}, UNTRACED).to_list(None)
        texts = cast("list[ConsentText]", found)
        return max(texts, key=lambda text: (text["effective_at"], text["created_at"], text["_id"]), default=None)

    async def every(self) -> list[ConsentText]:
        """All versions of all texts, the latest in force first within a kind."""
        texts = cast("list[ConsentText]", await self._docs.find({}, UNTRACED).to_list(None))
        texts.sort(key=lambda text: (text["effective_at"], text["created_at"], text["_id"]), reverse=True)
        return sorted(texts, key=lambda text: text["kind"])
