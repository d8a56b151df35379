"""The `consult_types` collection: the kinds of question patients choose from, kept by the back office (P1.4)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import HistoryEntry
from storage.traced import UNTRACED, Traced, owed, owing


class ConsultType(TypedDict):
    """Never deleted, only disabled: visits name it. `order` is its place in lists, lowest first."""

    _id: str
    name: str
    description: str
    order: int
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    history: list[HistoryEntry]


class NameTaken(Exception):
    """Another type, enabled or not, has this name."""


class ConsultTypeRepository(Traced):
    """Unique index: name. Some dozens of documents."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["consult_types"])

    async def get(self, id_: str) -> ConsultType | None:
        """The type with this id, enabled or not."""
        return cast("ConsultType | None", await self._docs.find_one({"_id": id_}, UNTRACED))

    async def every(self) -> list[ConsultType]:
        """All types in their order, disabled ones too."""
        return _in_order(await self._docs.find({}, UNTRACED).to_list(None))

    async def enabled(self) -> list[ConsultType]:
        """The types patients may choose, in their order."""
        return _in_order(await self._docs.find({"enabled": True}, UNTRACED).to_list(None))

    async def add(self, consult_type: ConsultType) -> bool:
        """Add a type; False: this id or this name is taken."""
        try:
            await self._docs.insert_one(owed(consult_type))
        except DuplicateKey:
            return False
        return True

    async def change(
        self, id_: str, *, seen_version: int, values: Mapping[str, Any], entries: Sequence[HistoryEntry], at: datetime
    ) -> bool:
        """Set `values` if the type is still as it was seen; False: someone changed it. Raises `NameTaken`."""
        update = {
            "$set": {**values, "updated_at": at},
            "$inc": {"version": 1},
            "$push": {"history": {"$each": list(entries)}},
            **owing(at),
        }
        try:
            changed = await self._docs.update_one({"_id": id_, "version": seen_version}, update)
        except DuplicateKey as error:
            raise NameTaken from error
        return bool(changed.matched_count)


def _in_order(found: list[Any]) -> list[ConsultType]:
    return sorted(cast("list[ConsultType]", found), key=lambda one: (one["order"], one["_id"]))
