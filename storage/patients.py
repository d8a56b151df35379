"""The `patients` collection: the people an account asks for (就诊人), sealed field by field, kept as legal records."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import HistoryEntry
from storage.traced import UNTRACED, Traced, owed, owing

VerificationState = Literal["unverified", "verified", "failed", "manual_review"]


class Verification(TypedDict):
    """The last real-name check: only `verified` counts (R2-1). The rest says who answered, under which number, when."""

    state: VerificationState
    provider: str | None
    serial: str | None
    at: datetime | None


class Guardian(TypedDict):
    """The guardian of a child (R3-3); `name`, `id_number` and `phone` are sealed as `patient.guardian.<field>`."""

    name: str
    id_type: str
    id_number: str
    phone: str
    relation: str
    verification: Verification


class Patient(TypedDict):
    """`name`, `id_number` and `phone` are sealed as `patient.<field>`; `gender` GB/T 2261.1, `id_type` CV02.01.101.

    `slot`, `id_index` and `self_of` stand behind unique indexes and are there only while the patient is listed: the
    place among the account's patients ("00", "01" …), the blind index of the ID, the account where this is its owner.
    `removed_at` hides a patient from lists; the record stays until `retain_until`.
    """

    _id: str
    account_id: str
    name: str
    id_type: str
    id_number: str
    gender: str
    birth_date: str
    phone: str
    relation: str
    verification: Verification
    guardian: Guardian | None
    slot: str | None
    id_index: str | None
    self_of: str | None
    removed_at: datetime | None
    retain_until: datetime
    version: int
    created_at: datetime
    updated_at: datetime
    history: list[HistoryEntry]


class PatientTaken(Exception):
    """A unique index refused: the ID number, the place in the list or the account's own record is there already."""


class PatientRepository(Traced):
    """Unique among listed patients: (account_id, id_index), (account_id, slot), (account_id, self_of)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        super().__init__(store.db["patients"])

    async def get(self, id_: str) -> Patient | None:
        """The patient, listed or removed."""
        return cast("Patient | None", await self._docs.find_one({"_id": id_}, UNTRACED))

    async def add(self, patient: Patient) -> None:
        """Store a new patient; raises `PatientTaken`."""
        try:
            await self._docs.insert_one(owed(patient))
        except DuplicateKey as error:
            raise PatientTaken from error

    async def listed_of(self, account: str) -> list[Patient]:
        """The account's patients who are not removed, newest first; there are never more than the policy's number."""
        stages: list[dict[str, Any]] = [
            {"$match": {"account_id": account}},
            {"$match": {"removed_at": None}},
            {"$sort": {"_id": -1}},
        ]
        return cast("list[Patient]", await self._store.aggregate(self._docs, stages))

    async def change(
        self, id_: str, *, seen_version: int, values: Mapping[str, Any], entries: Sequence[HistoryEntry], at: datetime
    ) -> bool:
        """Set `values` if the patient is still as seen; False: someone changed or removed it. Raises `PatientTaken`."""
        update: dict[str, Any] = {"$set": {**values, "updated_at": at}, "$inc": {"version": 1}}
        if entries:
            update |= {"$push": {"history": {"$each": list(entries)}}, **owing(at)}
        try:
            changed = await self._docs.update_one({"_id": id_, "version": seen_version}, update)
        except DuplicateKey as error:
            raise PatientTaken from error
        return bool(changed.matched_count)

    async def retain(self, id_: str, until: datetime) -> None:
        """Keep the record at least `until`; a later day that stands there already stays."""
        await self._docs.update_one({"_id": id_}, {"$max": {"retain_until": until}})
