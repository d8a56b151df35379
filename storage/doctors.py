"""The `doctors` collection: a doctor's page, licence and offer; `_id` is the id of the doctor's account."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import HistoryEntry
from storage.traced import UNTRACED, Traced, owed, owing

ServiceKind = Literal["consult", "followup"]


class Doctor(TypedDict):
    """Days are `YYYY-MM-DD`, fees fen by service, `title` a code of GB/T 8561, `practice_scope` subject codes.

    `institution` is where the doctor is registered first, `main_institution` whether that is this hospital, and
    `consent_document` the reference of its consent (R2-2). `online` is the doctor's own switch, not what is offered.
    A `suspended` doctor's account is disabled or no doctor's any more. `history` is who changed what on the page.
    `services` are those the hospital grants, `paused` those of them that the doctor has turned off. `photo` is a medium
    of the doctor's.
    """

    _id: str
    name: str
    gender: str
    title: str
    department_id: str
    skills: list[str]
    introduction: str
    photo: str | None
    qualification_number: str
    licence_number: str
    licence_valid_to: str
    practice_start: str
    practice_scope: list[str]
    institution: str
    main_institution: bool
    multi_site_filed: bool
    consent_document: str | None
    services: list[ServiceKind]
    paused: NotRequired[list[ServiceKind]]
    fees: dict[str, int]
    online: bool
    suspended: NotRequired[bool]
    history: NotRequired[list[HistoryEntry]]
    rating_sum: int
    rating_count: int
    version: int
    created_at: datetime
    updated_at: datetime


class DoctorRepository(Traced):
    """Read one by one where something is decided, as a whole by the catalogue. Every change raises `version`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["doctors"])

    async def get(self, id_: str) -> Doctor | None:
        """The doctor with this account id."""
        return cast("Doctor | None", await self._docs.find_one({"_id": id_}, UNTRACED))

    async def every(self) -> list[Doctor]:
        """All doctors, in no order."""
        return cast("list[Doctor]", await self._docs.find({}, UNTRACED).to_list(None))

    async def add(self, doctor: Doctor) -> bool:
        """Add a doctor; False: there is one with this id, who stays as they are."""
        try:
            await self._docs.insert_one(owed(doctor))
        except DuplicateKey:
            return False
        return True

    async def set_online(self, id_: str, online: bool, *, at: datetime) -> bool:
        """Turn the doctor's switch; False: no such doctor."""
        changed = await self._docs.update_one(
            {"_id": id_}, {"$set": {"online": online, "updated_at": at}, "$inc": {"version": 1}}
        )
        return bool(changed.matched_count)

    async def set_rating(self, id_: str, *, stars: int, count: int, at: datetime) -> bool:
        """Write the sum of stars and how many gave them; False: as many, or more, are counted already.

        Ratings are never taken back, so of two writers the one that has seen more of them is right: late and repeated
        writes change nothing.
        """
        changed = await self._docs.update_one(
            {"_id": id_, "rating_count": {"$lt": count}},
            {"$set": {"rating_sum": stars, "rating_count": count, "updated_at": at}, "$inc": {"version": 1}},
        )
        return bool(changed.matched_count)

    async def change(
        self, seen: Doctor, values: Mapping[str, Any], *, entries: Sequence[HistoryEntry], at: datetime
    ) -> bool:
        """Set `values` if the doctor is still as they were seen; False: someone changed them."""
        changed = await self._docs.update_one(
            {"_id": seen["_id"], "version": seen["version"]},
            {
                "$set": {**values, "updated_at": at},
                "$inc": {"version": 1},
                "$push": {"history": {"$each": list(entries)}},
                **owing(at),
            },
        )
        return bool(changed.matched_count)

    async def suspend(self, id_: str, suspended: bool, *, entry: HistoryEntry) -> bool:
        """Take the doctor from those who may be asked, and offline, or let them back; False: nothing had to change."""
        values: dict[str, Any] = {"suspended": suspended, "updated_at": entry["at"]}
        if suspended:
            values["online"] = False
        changed = await self._docs.update_one(
            {"_id": id_, "suspended": {"$ne": True} if suspended else True},
            {"$set": values, "$inc": {"version": 1}, "$push": {"history": entry}, **owing(entry["at"])},
        )
        return bool(changed.matched_count)
