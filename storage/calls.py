"""The `calls` collection: audio and video calls out of a visit, live ones and all that were.

Whether somebody is in a call is read off the live calls, never kept as a flag: `live_visit`, `live_doctor` and
`live_patient` stand in a document only while its call is live, each under a unique index, so that a second live call of
a visit or of a person cannot be stored, and the move that ends a call sets all of them free.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, cast

from storage.mongo import Store
from storage.moves import Duty, HistoryEntry, Moving
from storage.visits import Consent

Side = Literal["doctor", "patient"]
Media = Literal["audio", "video"]
Status = Literal["ringing", "connecting", "active", "reconnecting", "ended"]
Reason = Literal["hangup", "declined", "cancelled", "missed", "busy", "failed", "lost", "visit_ended"]
LegState = Literal["none", "connecting", "connected", "lost"]
LiveField = Literal["live_visit", "live_doctor", "live_patient"]

LIVE_FIELDS: Final[tuple[LiveField, ...]] = ("live_visit", "live_doctor", "live_patient")


class Leg(TypedDict):
    """One side's connection to our media; 0 as generation before its first offer."""

    state: LegState
    generation: int


class CallConsent(Consent):
    """A text agreed to before joining, and by which account (R3-5)."""

    account: str


class RecorderFault(TypedDict):
    """A recorder that broke and went on in a new segment."""

    at: datetime
    side: Side
    generation: int
    reason: str


class Call(TypedDict):
    """`owner` is the process that holds its media; `recordings` what each of its rooms recorded, by the room's id.

    `quality` holds sums under `doctor` and `patient` of what each sent us, and under `doctor_received` and
    `patient_received` of what each side's own client measured.

    `recording_since` is when the first leg connected, for a recorder is armed before a leg counts as connected.
    """

    _id: str
    visit_id: str
    doctor_id: str
    patient_account: str
    media: Media
    status: Status
    version: int
    request_id: str
    answered_by: str | None
    legs: dict[Side, Leg]
    owner: str | None
    consents: list[CallConsent]
    reason: Reason | None
    started_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    recording_since: datetime | None
    recorder_faults: list[RecorderFault]
    recordings: dict[str, dict[str, Any]]
    quality: dict[str, dict[str, Any]]
    created_at: datetime
    updated_at: datetime
    retain_until: datetime
    history: list[HistoryEntry]
    duties: list[Duty]


class CallRepository(Moving):
    """Unique: (doctor_id, request_id), and each of `LIVE_FIELDS` among the documents that have it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["calls"])
        self._store = store

    async def by_request(self, doctor_id: str, request_id: str) -> Call | None:
        """The call that a doctor's device asked for under this request id."""
        found = await self._docs.find_one({"doctor_id": doctor_id, "request_id": request_id})
        return cast("Call | None", found)

    async def live(self, field: LiveField, value: str) -> Call | None:
        """The live call of a visit, a doctor or a patient's account."""
        return cast("Call | None", await self._docs.find_one({field: value}))

    async def page(self, visit_id: str, *, before: str | None, limit: int) -> list[Call]:
        """A visit's calls, newest first below `before`, at most `limit`."""
        wanted: dict[str, Any] = {"visit_id": visit_id}
        if before is not None:
            wanted["_id"] = {"$lt": before}
        stages: list[dict[str, Any]] = [{"$match": wanted}, {"$sort": {"_id": -1}}, {"$limit": limit}]
        return cast("list[Call]", await self._store.aggregate(self._docs, stages))

    async def owned(self, limit: int) -> list[Call]:
        """Up to `limit` calls whose media some process holds."""
        found = await self._docs.find({"owner": {"$gt": ""}}).limit(limit).to_list(limit)
        return cast("list[Call]", found)

    async def many(self, ids: Collection[str]) -> dict[str, Call]:
        """Those that exist, by id."""
        found = await self._docs.find({"_id": {"$in": sorted(set(ids))}}).to_list(None) if ids else []
        return {call["_id"]: cast("Call", call) for call in found}

    # --- beside the moves: what nobody is told of as it happens, so the version stays -------------------------------

    async def keep_quality(self, id_: str, sums: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the sums of what was measured so far, by their names in `Call.quality`."""
        await self._docs.update_one(
            {"_id": id_}, {"$set": {f"quality.{name}": dict(one) for name, one in sums.items()}}
        )

    async def keep_recording(self, id_: str, room: str, manifest: Mapping[str, Any]) -> None:
        """Write what a room recorded of the call, once it has closed its files."""
        await self._docs.update_one({"_id": id_}, {"$set": {f"recordings.{room}": dict(manifest)}})

    async def add_recorder_fault(self, id_: str, fault: RecorderFault) -> None:
        """Mark the record: a recorder broke."""
        await self._docs.update_one({"_id": id_}, {"$push": {"recorder_faults": fault}})
