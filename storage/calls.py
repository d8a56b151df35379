"""The `calls` collection: audio and video calls out of a visit, live ones and all that were.

Whether somebody is in a call is read off the live calls, never kept as a flag: `live_visit`, `live_doctor` and
`live_patient` stand in a document only while its call is live, each under a unique index, so that a second live call of
a visit or of a person cannot be stored, and the move that ends a call sets all of them free.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime
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

# Below every time of ours: a range with this lower end leaves out what has no time at all.
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LISTED: Final = 200
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


class Film(TypedDict):
    """What is composed of a recording, for watching. `next_at`: when it may be tried, or a try's lease ends.

    `file` is None until it is made; then `segments` tells how many it was made of, and the rest is of its bytes, in
    seconds and bytes.
    """

    next_at: datetime | None
    claim: str | None
    attempts: int
    error: str | None
    file: str | None
    segments: int
    made_at: datetime | None
    size: int
    duration: float
    pictures: int
    sha256: str
    sm3: str


class RecordingRead(TypedDict):
    """Who asked to see or hear a recording, and why, in their own words."""

    at: datetime
    actor: str
    role: str
    variant: str
    reason: str


class Call(TypedDict):
    """`owner` is the process that holds its media; `recordings` what each of its rooms recorded, by the room's id.

    A room stands there from its opening on (`process`, `opened_at`), with its manifest and `collected_at` once all its
    files are in the file store. `recording_faults` is what the last reconciliation found wrong with it all.

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
    recording_faults: list[str]
    recording_reads: list[RecordingRead]
    film: Film | None
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

    async def add_recorder_fault(self, id_: str, fault: RecorderFault) -> None:
        """Mark the record: a recorder broke."""
        await self._docs.update_one({"_id": id_}, {"$push": {"recorder_faults": fault}})

    # --- the recording ----------------------------------------------------------------------------------------------

    async def expect_recording(self, id_: str, room: str, *, process: str, at: datetime) -> None:
        """A room has opened: what it records is owed to the call from now on."""
        begun = {"process": process, "opened_at": at, "collected_at": None, "segments": [], "timeline": []}
        await self._docs.update_one(
            {"_id": id_, f"recordings.{room}": None}, {"$set": {f"recordings.{room}": {**begun, "unreadable": []}}}
        )

    async def keep_recording(self, id_: str, room: str, manifest: Mapping[str, Any], *, at: datetime) -> bool:
        """Write what a room recorded, all of whose files are in the store; False: there is no such call."""
        values = {f"recordings.{room}.{name}": value for name, value in {**manifest, "collected_at": at}.items()}
        return (await self._docs.update_one({"_id": id_}, {"$set": values})).matched_count == 1

    async def name_unreadable(self, id_: str, room: str, name: str) -> None:
        """A file of the room that cannot be played is kept as well, under this name."""
        await self._docs.update_one({"_id": id_}, {"$addToSet": {f"recordings.{room}.unreadable": name}})

    async def set_recording_faults(self, id_: str, faults: Sequence[str]) -> None:
        """Mark the record with what is wrong with its recording; nothing: it is well."""
        await self._docs.update_one({"_id": id_}, {"$set": {"recording_faults": list(faults)}})

    async def add_recording_read(self, id_: str, read: RecordingRead) -> None:
        """Keep who asks for the recording and why."""
        await self._docs.update_one({"_id": id_}, {"$push": {"recording_reads": read}})

    async def ended(self) -> AsyncIterator[list[Call]]:
        """Every call that has ended, in lists of at most `_LISTED`."""
        cursor = self._docs.find({"ended_at": {"$gt": BEGINNING}}).batch_size(_LISTED)
        while batch := await cursor.to_list(_LISTED):
            yield cast("list[Call]", batch)

    # --- the film: claimed by whoever composes it, by compare-and-set -------------------------------------------------

    async def order_film(self, id_: str, film: Film, *, seen: Film | None) -> bool:
        """Have a film made (again) if the call's still is as it was seen; False: it is not."""
        where = {"film": None} if seen is None else {"film.made_at": seen["made_at"], "film.next_at": None}
        return (await self._docs.update_one({"_id": id_, **where}, {"$set": {"film": film}})).matched_count == 1

    async def films_due(self, now: datetime, limit: int) -> list[Call]:
        """Up to `limit` calls whose film may be tried now."""
        come = {"film.next_at": {"$gt": BEGINNING, "$lte": now}}
        return cast("list[Call]", await self._docs.find(come).limit(limit).to_list(limit))

    async def claim_film(self, id_: str, *, seen: datetime, token: str, until: datetime) -> bool:
        """Take the film's making as it was seen, until `until`; counts the attempt. False: another has it."""
        change = {"$set": {"film.claim": token, "film.next_at": until}, "$inc": {"film.attempts": 1}}
        return (await self._docs.update_one({"_id": id_, "film.next_at": seen}, change)).matched_count == 1

    async def write_film(self, id_: str, token: str, values: Mapping[str, Any]) -> bool:
        """Change fields of the film while this claim on it holds; False: it has been taken over."""
        change = {"$set": {f"film.{name}": value for name, value in values.items()}}
        return (await self._docs.update_one({"_id": id_, "film.claim": token}, change)).matched_count == 1
