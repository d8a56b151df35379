"""The `patient_groups` collection: how a doctor sorts those who have consulted them. Not a legal record."""

from datetime import datetime
from typing import TypedDict, cast

from storage.mongo import DuplicateKey, Store


class PatientGroup(TypedDict):
    """`patients` are ids of patients, each once; `slot` is the group's place among the doctor's ("000", "001" …)."""

    _id: str
    doctor_id: str
    name: str
    slot: str
    patients: list[str]
    version: int
    created_at: datetime
    updated_at: datetime


class GroupTaken(Exception):
    """A unique index refused: this doctor has a group of that name, or in that place."""


class PatientGroupRepository:
    """Unique: (doctor_id, name), and (doctor_id, slot), which bounds how many there are."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["patient_groups"]

    async def get(self, id_: str) -> PatientGroup | None:
        """The group, whoever's it is."""
        return cast("PatientGroup | None", await self._docs.find_one({"_id": id_}))

    async def of_doctor(self, doctor_id: str) -> list[PatientGroup]:
        """All of the doctor's groups, in the order they were made."""
        found = await self._docs.find({"doctor_id": doctor_id}).to_list(None)
        return sorted(cast("list[PatientGroup]", found), key=lambda group: group["_id"])

    async def add(self, group: PatientGroup) -> None:
        """Store a new group; raises `GroupTaken`."""
        try:
            await self._docs.insert_one(group)
        except DuplicateKey as error:
            raise GroupTaken from error

    async def rename(self, id_: str, name: str, *, at: datetime) -> bool:
        """Give it another name; False: it is gone. Raises `GroupTaken`."""
        change = {"$set": {"name": name, "updated_at": at}, "$inc": {"version": 1}}
        try:
            renamed = await self._docs.update_one({"_id": id_}, change)
        except DuplicateKey as error:
            raise GroupTaken from error
        return bool(renamed.matched_count)

    async def remove(self, id_: str) -> bool:
        """Forget the group; the patients stay where else they are. False: it is gone already."""
        removed = await self._docs.delete_one({"_id": id_})
        return bool(removed.deleted_count)

    async def put(self, id_: str, patient_id: str, *, most: int, at: datetime) -> bool:
        """Put a patient in, once; False: the group is gone or holds `most` already."""
        put = await self._docs.update_one(
            {"_id": id_, f"patients.{most - 1}": {"$exists": False}},
            {"$addToSet": {"patients": patient_id}, "$set": {"updated_at": at}, "$inc": {"version": 1}},
        )
        return bool(put.matched_count)

    async def take_out(self, id_: str, patient_id: str, *, at: datetime) -> None:
        """Take a patient out; who is not in it changes nothing."""
        await self._docs.update_one(
            {"_id": id_, "patients": patient_id},
            {"$pull": {"patients": patient_id}, "$set": {"updated_at": at}, "$inc": {"version": 1}},
        )
