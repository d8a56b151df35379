"""Documents that move from state to state, with their history and their duties, in one atomic update.

A document here has `status`, `version` (counts every change), `updated_at`, `history`, `duties` and `deadline_at`. What
must follow from a change (a notice, a call to an outside system, a step of another document) is a duty written by the
same update, so that a crash between the two cannot happen; a worker runs duties later, under a lease.

Duties of one document run in their order: `due` gives only documents whose first living duty may run now, and
`first_due` names it. A dead duty waits for a person and holds nobody up.
"""

from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypedDict

from storage.mongo import Collection, Document, DuplicateKey

UNCHANGED: Final = object()
# Below every time of ours. A range with this lower end leaves out what has no time at all, which the embedded server
# walks through otherwise: 20 times slower among ten thousand documents that owe nothing.
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryEntry(TypedDict):
    """Who made a change and why; `actor` is an account id or "system", `frm` and `to` are alike when nothing moved."""

    at: datetime
    actor: str
    role: str
    act: str
    frm: str
    to: str
    reason: str | None


class Duty(TypedDict):
    """Something that must still be done. `next_at` is when it may run, or when its lease ends; None when it is dead."""

    kind: str
    key: str
    state: Literal["due", "dead"]
    next_at: datetime | None
    lease: str | None
    attempts: int
    error: str | None


@dataclass(frozen=True)
class Owed:
    """The duties of one kind: how many wait, since when the first of them may run (or runs), how many were given up."""

    kind: str
    waiting: int
    oldest: datetime | None
    dead: int


def duty(kind: str, doc_id: str, version: int, at: datetime) -> Duty:
    """A duty to be run from `at` on; its key is the same however often it runs, and is what outside calls are keyed by.

    `version` is the document's as read before the change; one change adds at most one duty of a kind.
    """
    return Duty(
        kind=kind, key=f"{doc_id}:{version}:{kind}", state="due", next_at=at, lease=None, attempts=0, error=None
    )


def first_due(doc: Mapping[str, Any], now: datetime) -> Duty | None:
    """The duty that may be leased now: the first that lives, if its time has come."""
    first = _first_living(doc)
    return first if first and first["next_at"] is not None and first["next_at"] <= now else None


def _first_living(doc: Mapping[str, Any]) -> Duty | None:
    duties: Sequence[Duty] = doc.get("duties", [])
    return next((one for one in duties if one["state"] == "due"), None)


def _owed(kind: str, duties: Iterable[Duty]) -> Owed:
    ours = [one for one in duties if one["kind"] == kind]
    times = [one["next_at"] for one in ours if one["next_at"] is not None]
    return Owed(kind, len(times), min(times, default=None), len(ours) - len(times))


class Moving:
    """The base of repositories of such documents. Indexes it asks for: `storage.indexes.MOVING`."""

    def __init__(self, docs: Collection) -> None:
        self._docs = docs

    async def add(self, document: Mapping[str, Any]) -> bool:
        """Store a new document; False: it, or another that a unique index sets equal to it, is there already."""
        try:
            await self._docs.insert_one(dict(document))
        except DuplicateKey:
            return False
        return True

    async def get(self, id_: str) -> Any:
        """The document, or None."""
        return await self._docs.find_one({"_id": id_})

    async def move(
        self,
        id_: str,
        frm: str | Several[str],
        to: str,
        *,
        entry: HistoryEntry,
        duties: Iterable[Duty] = (),
        set: Mapping[str, Any] | None = None,
        unset: Iterable[str] = (),
        deadline_at: datetime | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Any:
        """The document after the change; None when it is no longer in `frm` (someone was faster) or not as `where`.

        `deadline_at` belongs to the new status: not given, the old one is taken away. `where` holds further equalities,
        for instance the version that was read. The document returned is read after the change and may have moved on.
        """
        status = frm if isinstance(frm, str) else {"$in": sorted(frm)}
        change = _change(entry["at"], entry, duties, {**(set or {}), "status": to, "deadline_at": deadline_at}, unset)
        moved = await self._docs.update_one({**(where or {}), "_id": id_, "status": status}, change)
        return await self.get(id_) if moved.matched_count else None

    async def note(
        self,
        id_: str,
        *,
        at: datetime | None = None,
        entry: HistoryEntry | None = None,
        duties: Iterable[Duty] = (),
        set: Mapping[str, Any] | None = None,
        unset: Iterable[str] = (),
        deadline_at: Any = UNCHANGED,
        where: Mapping[str, Any] | None = None,
    ) -> Any:
        """A change that leaves the status alone; the document after it, or None when none is as `where` says.

        `at` is the time of the change where no `entry` tells it; `where` are equalities, for instance on `status`.
        """
        values = dict(set or {}) if deadline_at is UNCHANGED else {**(set or {}), "deadline_at": deadline_at}
        change = _change(entry["at"] if entry else at, entry, duties, values, unset)
        noted = await self._docs.update_one({**(where or {}), "_id": id_}, change)
        return await self.get(id_) if noted.matched_count else None

    async def due(self, now: datetime, limit: int) -> list[Any]:
        """Up to `limit` documents whose first living duty may run now.

        A document whose first duty waits (after a failure) while later ones are due is put off until that time, or
        such documents would fill every answer and starve the rest while an outside system is away.
        """
        come = {"duties.next_at": {"$gt": _BEGINNING, "$lte": now}}
        found: list[Document] = await self._docs.find(come).limit(limit).to_list(limit)
        ready: list[Document] = []
        for doc in found:
            first = _first_living(doc)
            if first_due(doc, now):
                ready.append(doc)
            elif first and first["lease"] is None:
                await self._hold_back(doc["_id"], first)
        return ready

    async def _hold_back(self, id_: str, first: Duty) -> None:
        await self._docs.update_one(
            {"_id": id_, "duties": {"$elemMatch": {"key": first["key"], "next_at": first["next_at"]}}},
            {"$max": {"duties.$[waiting].next_at": first["next_at"]}},
            array_filters=[{"waiting.state": "due", "waiting.lease": None}],
        )

    async def overdue(self, now: datetime, limit: int) -> list[Any]:
        """Up to `limit` documents whose deadline has come."""
        come = {"deadline_at": {"$gt": _BEGINNING, "$lte": now}}
        return await self._docs.find(come).limit(limit).to_list(limit)

    async def owed(self) -> list[Owed]:
        """What all documents of the collection owe, by kind of duty. Reads those that owe something, no others."""
        living = await self._docs.find({"duties.next_at": {"$gt": _BEGINNING}}, {"duties": 1}).to_list(None)
        dead = await self._docs.find({"duties.state": "dead"}, {"duties": 1}).to_list(None)
        duties: dict[str, Duty] = {one["key"]: one for doc in (*living, *dead) for one in doc["duties"]}
        return [_owed(kind, duties.values()) for kind in sorted({one["kind"] for one in duties.values()})]

    async def lease(self, id_: str, key: str, *, seen_next_at: datetime, token: str, until: datetime) -> bool:
        """Takes the duty as it was seen, until `until`; counts the attempt. False: another worker has it, or had it."""
        held = {"key": key, "state": "due", "next_at": seen_next_at}
        change = {
            "$set": {"duties.$.lease": token, "duties.$.next_at": until},
            "$inc": {"duties.$.attempts": 1},
        }
        return await self._change_duty(id_, held, change)

    async def finish(self, id_: str, key: str, token: str) -> bool:
        """Takes the done duty away. False: the lease had ended and another worker has taken it over."""
        held = {"key": key, "lease": token}
        return await self._change_duty(id_, held, {"$pull": {"duties": held}})

    async def postpone(
        self, id_: str, key: str, token: str, next_at: datetime, error: str, *, counted: bool = True
    ) -> bool:
        """Gives the duty back, to be run from `next_at` on; `error` is a short text without personal data.

        Not `counted`: it was no failure, and the attempt that the lease counted is taken back.
        """
        freed = {"duties.$.lease": None, "duties.$.next_at": next_at, "duties.$.error": error}
        change: Document = {"$set": freed}
        if not counted:
            change["$inc"] = {"duties.$.attempts": -1}
        return await self._change_duty(id_, {"key": key, "lease": token}, change)

    async def bury(self, id_: str, key: str, token: str, error: str) -> bool:
        """Gives the duty up; it stays with its error until a person revives it."""
        dead = {
            "duties.$.state": "dead",
            "duties.$.lease": None,
            "duties.$.next_at": None,
            "duties.$.error": error,
        }
        return await self._change_duty(id_, {"key": key, "lease": token}, {"$set": dead})

    async def revive(self, id_: str, key: str, *, at: datetime) -> bool:
        """Lets a dead duty run again from `at` on, its attempts counted anew. False: there is no such dead duty."""
        due = {"duties.$.state": "due", "duties.$.next_at": at, "duties.$.attempts": 0}
        return await self._change_duty(id_, {"key": key, "state": "dead"}, {"$set": due})

    async def _change_duty(self, id_: str, held: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        changed = await self._docs.update_one({"_id": id_, "duties": {"$elemMatch": held}}, change)
        return changed.matched_count == 1


def _change(
    at: datetime | None,
    entry: HistoryEntry | None,
    duties: Iterable[Duty],
    values: Mapping[str, Any],
    unset: Iterable[str],
) -> Document:
    change: Document = {"$inc": {"version": 1}}
    changed = dict(values) if at is None else {**values, "updated_at": at}
    if changed:
        change["$set"] = changed
    if gone := dict.fromkeys(unset, ""):
        change["$unset"] = gone
    pushed: Document = {"duties": {"$each": added}} if (added := list(duties)) else {}
    if entry is not None:
        pushed["history"] = entry
    if pushed:
        change["$push"] = pushed
    return change
