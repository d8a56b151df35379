"""The `departments` collection: what the hospital is registered for (诊疗科目), in the order it lists them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import HistoryEntry
from storage.traced import UNTRACED, Traced, owed, owing


class Department(TypedDict):
    """`code` is the official subject code (医疗机构诊疗科目名录), `order` its place in lists.

    `version` counts the changes (absent: none yet), `history` says who made them.
    """

    _id: str
    code: str
    name: str
    introduction: str
    order: int
    version: NotRequired[int]
    history: NotRequired[list[HistoryEntry]]
    created_at: datetime
    updated_at: datetime


class DepartmentRepository(Traced):
    """Some dozens of documents, always read as a whole into the catalogue."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["departments"])

    async def every(self) -> list[Department]:
        """All departments, in no order."""
        return cast("list[Department]", await self._docs.find({}, UNTRACED).to_list(None))

    async def add(self, department: Department) -> bool:
        """Add a department; False: there is one with this id, and it stays as it is."""
        try:
            await self._docs.insert_one(owed(department))
        except DuplicateKey:
            return False
        return True

    async def get(self, id_: str) -> Department | None:
        """The department with this id."""
        return cast("Department | None", await self._docs.find_one({"_id": id_}, UNTRACED))

    async def change(
        self, seen: Department, values: Mapping[str, Any], *, entries: Sequence[HistoryEntry], at: datetime
    ) -> bool:
        """Set `values` if the department is still as it was seen; False: someone changed it."""
        changed = await self._docs.update_one(
            {"_id": seen["_id"], "version": seen.get("version")},
            {
                "$set": {**values, "updated_at": at, "version": seen.get("version", 1) + 1},
                "$push": {"history": {"$each": list(entries)}},
                **owing(at),
            },
        )
        return bool(changed.matched_count)
