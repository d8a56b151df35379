"""The `visits` collection: a consultation or follow-up of a patient with a doctor. Its id is its conversation's too."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from storage.mongo import Store
from storage.moves import Duty, HistoryEntry, Moving

VisitKind = Literal["consult", "followup"]
Status = Literal[
    "pending_payment",
    "waiting",
    "in_progress",
    "completed",
    "terminated",
    "cancelled",
    "declined",
    "expired",
    "refunded",
]


class PatientSnapshot(TypedDict):
    """The patient as they were when the visit was submitted; `name` is sealed, and the guardian's too."""

    id: str
    name: str
    gender: str
    birth_date: str
    relation: str
    guardian: dict[str, Any] | None


class Consent(TypedDict):
    """One text agreed to: which version, its SHA-256, when and from where (R3-1)."""

    kind: str
    version: str
    hash: str
    at: datetime
    address: str
    device: str


class Visit(TypedDict):
    """`condition` is the sealed JSON of the illness, `advice` sealed; `fee` in fen; `order_id` None when it is free."""

    _id: str
    kind: VisitKind
    status: Status
    version: int
    request_id: str
    patient_account: str
    patient: PatientSnapshot
    doctor_id: str
    doctor_name: str
    department_id: str
    consult_type: dict[str, str]
    condition: str
    attachments: list[str]
    consents: list[Consent]
    fee: int
    order_id: str | None
    reason: str | None
    advice: str | None
    rating: dict[str, Any] | None
    submitted_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    created_at: datetime
    updated_at: datetime
    retain_until: datetime
    history: list[HistoryEntry]
    duties: list[Duty]


class Consulted(TypedDict):
    """A patient (`_id`) who has consulted a doctor: the newest visit's id, snapshot and time, and the number of all."""

    _id: str
    last: str
    patient: PatientSnapshot
    at: datetime
    visits: int


class VisitRepository(Moving):
    """Unique index: (patient_account, request_id), so that a repeated submission finds the first."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["visits"])
        self._store = store

    async def by_request(self, account: str, request_id: str) -> Visit | None:
        """The visit an account submitted under this request id."""
        found = await self._docs.find_one({"patient_account": account, "request_id": request_id})
        return cast("Visit | None", found)

    async def page(
        self,
        by: Literal["patient_account", "doctor_id", "department_id"],
        value: str,
        *,
        before: str | None,
        limit: int,
        statuses: Sequence[str] = (),
        kind: str | None = None,
        patient_id: str | None = None,
        submitted: bool = False,
    ) -> list[Visit]:
        """Newest first below `before`, at most `limit`; `submitted` leaves out what was never paid."""
        prefix: dict[str, Any] = {by: value}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        wanted: dict[str, Any] = {}
        if statuses:
            wanted["status"] = {"$in": list(statuses)}
        if kind is not None:
            wanted["kind"] = kind
        if patient_id is not None:
            wanted["patient.id"] = patient_id
        if submitted:
            wanted["submitted_at"] = {"$ne": None}
        # Filters outside the index prefix go into a stage of their own (storage forms, decision 0002).
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}]
        if wanted:
            stages.append({"$match": wanted})
        return cast("list[Visit]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def open_of(self, account: str, role: str) -> list[Visit]:
        """The visits in which this account may be spoken to now: paid and not ended."""
        by = "doctor_id" if role == "doctor" else "patient_account"
        stages: list[dict[str, Any]] = [
            {"$match": {by: account}},
            {"$match": {"status": {"$in": ["waiting", "in_progress"]}}},
            {"$sort": {"_id": -1}},
        ]
        return cast("list[Visit]", await self._store.aggregate(self._docs, stages))

    async def counts_of_doctor(self, doctor_id: str) -> dict[str, int]:
        """How many submitted visits of this doctor stand in each status."""
        groups = await self._store.aggregate(
            self._docs,
            [
                {"$match": {"doctor_id": doctor_id}},
                {"$match": {"submitted_at": {"$ne": None}}},
                {"$group": {"_id": "$status", "count": {"$sum": 1}}},
            ],
        )
        return {group["_id"]: group["count"] for group in groups}

    async def open_counts(self, doctor_id: str) -> dict[str, int]:
        """How many visits of this doctor wait and are in progress, told from the index without reading the others."""
        counts = {}
        for status in ("waiting", "in_progress"):
            stages: list[dict[str, Any]] = [
                {"$match": {"doctor_id": doctor_id, "status": status}},
                {"$count": "count"},
            ]
            found = await self._store.aggregate(self._docs, stages)
            counts[status] = int(found[0]["count"]) if found else 0
        return counts

    async def in_progress(self, *, after: str, limit: int) -> list[Visit]:
        """Those in which people may speak now, oldest first above `after`, at most `limit`."""
        stages: list[dict[str, Any]] = [
            {"$match": {"status": "in_progress", "_id": {"$gt": after}}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        ]
        return cast("list[Visit]", await self._store.aggregate(self._docs, stages))

    async def many(self, ids: Collection[str]) -> dict[str, Visit]:
        """Those that exist, by id."""
        found = await self._docs.find({"_id": {"$in": sorted(set(ids))}}).to_list(None) if ids else []
        return {visit["_id"]: cast("Visit", visit) for visit in found}

    async def patients_of_doctor(
        self,
        doctor_id: str,
        *,
        until: datetime,
        before: str | None,
        limit: int,
        among: Collection[str] | None = None,
    ) -> list[Consulted]:
        """Who had submitted a visit to this doctor by `until`, by their newest visit below `before`, newest first.

        Only visits submitted by then count, so that later ones change neither the order nor the numbers. `among` are
        the patients asked for; None: all.
        """
        prefix: dict[str, Any] = {"doctor_id": doctor_id}
        if among is not None:
            prefix["patient.id"] = {"$in": sorted(among)}
        stages: list[dict[str, Any]] = [
            {"$match": prefix},
            {"$match": {"submitted_at": {"$ne": None, "$lte": until}}},
            {"$project": {"patient": 1, "submitted_at": 1}},
            {"$sort": {"_id": -1}},
            {
                "$group": {
                    "_id": "$patient.id",
                    "last": {"$first": "$_id"},
                    "patient": {"$first": "$patient"},
                    "at": {"$first": "$submitted_at"},
                    "visits": {"$sum": 1},
                }
            },
            {"$sort": {"last": -1}},
        ]
        if before is not None:
            stages.append({"$match": {"last": {"$lt": before}}})
        return cast("list[Consulted]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def rate(self, id_: str, rating: dict[str, Any], *, entry: HistoryEntry, duty: Duty) -> bool:
        """Write the one rating a visit gets; False: it has one."""
        rated = await self._docs.update_one(
            {"_id": id_, "rating": None},
            {
                "$set": {"rating": rating, "updated_at": entry["at"]},
                "$inc": {"version": 1},
                "$push": {"history": entry, "duties": duty},
            },
        )
        return bool(rated.matched_count)

    async def postpone_deadline(self, id_: str, seen: datetime, to: datetime) -> bool:
        """Move a deadline that has come but does not hold (somebody spoke); False: the visit has moved meanwhile."""
        moved = await self._docs.update_one({"_id": id_, "deadline_at": seen}, {"$set": {"deadline_at": to}})
        return bool(moved.matched_count)
