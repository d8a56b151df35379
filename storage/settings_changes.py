"""The `settings_changes` collection: every change of the hospital's numbers, and, in the last one, what holds now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.traced import UNTRACED, Traced, owed


class Step(TypedDict):
    """One number of a change; None is the environment's or the product's own value, whatever that is."""

    name: str
    frm: int | None
    to: int | None


class SettingsChange(TypedDict):
    """`_id` counts from 1 without gaps. `values` are all numbers set in the back office once this change was made."""

    _id: int
    steps: Sequence[Step]
    values: Mapping[str, int]
    actor: str
    role: str
    at: datetime


class SettingsChangeRepository(Traced):
    """Append-only. The next number can be written once, so that of two changes at one moment one is refused."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["settings_changes"])

    async def last(self) -> SettingsChange | None:
        """The newest change, whose `values` hold; None before the first."""
        found = await self._docs.find({}, UNTRACED).sort("_id", -1).limit(1).to_list(None)
        return cast("SettingsChange", found[0]) if found else None

    async def add(self, change: SettingsChange) -> bool:
        """Make a change; False: another has this number already."""
        try:
            await self._docs.insert_one(owed(change, change["at"]))
        except DuplicateKey:
            return False
        return True

    async def page(self, *, before: int | None, limit: int) -> list[SettingsChange]:
        """Changes, newest first below `before`, at most `limit`."""
        wanted = {} if before is None else {"_id": {"$lt": before}}
        found = await self._docs.find(wanted, UNTRACED).sort("_id", -1).limit(limit).to_list(None)
        return cast("list[SettingsChange]", found)
