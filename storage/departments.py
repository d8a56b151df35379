"""The `departments` collection: what the hospital is registered for (诊疗科目), in the order it lists them."""

from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store


class Department(TypedDict):
    """`code` is the official subject code (医疗机构诊疗科目名录), `order` its place in lists."""

    _id: str
    code: str
    name: str
    introduction: str
    order: int
    created_at: datetime
    updated_at: datetime


class DepartmentRepository:
    """Some dozens of documents, always read as a whole into the catalogue."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["departments"]

    async def every(self) -> list[Department]:
        """All departments, in no order."""
        return cast("list[Department]", await self._docs.find({}).to_list(None))

    async def add(self, department: Department) -> bool:
        """Add a department; False: there is one with this id, and it stays as it is."""
        try:
            await self._docs.insert_one(department)
        except DuplicateKey:
            return False
        return True
