"""Every index of the database, in one table: a query that finds none here is a scan.

Forms that the embedded server and a real one both serve from an index: equality on a prefix of the keys and at most one
range behind it. Ids are ULIDs, so `(owner, _id)` lists what somebody owns in the order of its making. A unique index
that only some documents take part in is partial, on the field's holding a text, because a missing field counts as null.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.mongo import Store

Keys = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Index:
    """One index; `partial` is a filter expression, `expire_after_s` counts from the time in its one key."""

    keys: Keys
    unique: bool = False
    partial: Mapping[str, Any] | None = field(default=None, hash=False)
    expire_after_s: int | None = None

    def options(self) -> dict[str, Any]:
        """The options of `create_index` that say the same."""
        options: dict[str, Any] = {"unique": True} if self.unique else {}
        if self.partial is not None:
            options["partialFilterExpression"] = dict(self.partial)
        if self.expire_after_s is not None:
            options["expireAfterSeconds"] = self.expire_after_s
        return options


def ascending(*names: str, unique: bool = False, partial: Mapping[str, Any] | None = None) -> Index:
    """An index over these fields in this order."""
    return Index(tuple((name, 1) for name in names), unique=unique, partial=partial)


def when_text(name: str) -> dict[str, Any]:
    """The partial filter of an index that only documents with a text (not an empty one) in this field take part in.

    Written as a comparison, which equality with a text implies: behind `$type` the index serves no look-up (105 ms
    instead of 1.2 in 5,000 documents of the embedded server).
    """
    return {name: {"$gt": ""}}


def unique_when_given(owner: str, name: str) -> list[Index]:
    """`name` is unique within `owner` among the documents that have it, and found by both.

    Two indexes, because the embedded server does not look into a partial one (told by $type or $exists), and answers
    wrongly from one told by a range as soon as the query has a further clause.
    """
    return [ascending(owner, name, unique=True, partial=when_text(name)), ascending(name, owner)]


# What `storage.traced.Traced` asks of a collection: the documents whose steps the audit trail has not got.
TRACED = ascending("unaudited_since")
# What `storage.moves.Moving` asks of a collection: its duties that are due, those given up, its deadlines that passed.
MOVING = (
    ascending("duties.next_at"),
    ascending("duties.state", partial={"duties.state": "dead"}),
    ascending("deadline_at"),
    TRACED,
)

INDEXES: dict[str, list[Index]] = {
    "accounts": [
        ascending("audience", "phone_index", unique=True),
        ascending("audience", "login", unique=True, partial=when_text("login")),
        ascending("audience", "openid", unique=True, partial=when_text("openid")),
        ascending("audience", "_id"),
        TRACED,
    ],
    "sessions": [
        ascending("account_id", "_id"),
        Index((("expires_at", 1),), expire_after_s=0),
    ],
    "visits": [
        *MOVING,
        ascending("patient_account", "_id"),
        ascending("doctor_id", "_id"),
        ascending("department_id", "_id"),
        ascending("doctor_id", "status"),
        ascending("doctor_id", "patient.id"),
        ascending("status", "_id"),
        *unique_when_given("patient_account", "request_id"),
    ],
    "orders": [
        *MOVING,
        ascending("account_id", "_id"),
        ascending("doctor_id", "_id"),
        ascending("doctor_id", "paid_at"),
        ascending("doctor_id", "refund.succeeded_at"),
        # The cashier's: refunds under way, and the money of a day.
        ascending("status", "_id"),
        ascending("paid_at"),
        ascending("refund.requested_at"),
    ],
    "notices": [*MOVING],
    "calls": [
        *MOVING,
        ascending("visit_id", "_id"),
        ascending("owner"),
        # The recording's: all that have ended, and films that wait to be made.
        ascending("ended_at"),
        ascending("film.next_at"),
        # Of a visit, a doctor, a patient at most one live call: only live calls have these fields.
        *(
            ascending(name, unique=True, partial=when_text(name))
            for name in ("live_visit", "live_doctor", "live_patient")
        ),
        *unique_when_given("doctor_id", "request_id"),
    ],
    "reconciliations": [
        ascending("day", unique=True),
    ],
    "patient_groups": [
        ascending("doctor_id", "name", unique=True),
        ascending("doctor_id", "slot", unique=True),
    ],
    "media": [
        ascending("status", "created_at"),
    ],
    "uploads": [
        ascending("status", "expires_at"),
        ascending("status", "claimed_until"),
    ],
    "upload_pieces": [
        ascending("upload", "at", unique=True),
    ],
    "messages": [
        ascending("conversation", "seq", unique=True),
    ],
    # Only listed patients take part; a removed one gives its place, its ID number and "self" free.
    "patients": [
        ascending("account_id", "_id"),
        ascending("account_id", "id_index", unique=True, partial=when_text("id_index")),
        ascending("account_id", "slot", unique=True, partial=when_text("slot")),
        ascending("account_id", "self_of", unique=True, partial=when_text("self_of")),
        TRACED,
    ],
    "doctors": [TRACED],
    "departments": [TRACED],
    "settings_changes": [TRACED],
    "consult_types": [
        ascending("name", unique=True),
        ascending("enabled"),
        TRACED,
    ],
    "consent_texts": [
        ascending("kind", "effective_at"),
        TRACED,
    ],
    "ratings": [
        ascending("visit_id", unique=True),
        ascending("doctor_id", "_id"),
        ascending("patient_account", "_id"),
    ],
    # The sealer's, then the auditor's: everything of a time, by whom, about what, of which kind.
    "audit_entries": [
        ascending("block", "at"),
        ascending("at"),
        ascending("actor", "at"),
        ascending("subject", "at"),
        ascending("act", "at"),
    ],
    # Seven days (the public contract): these are not legal records.
    "idempotency": [
        Index((("started_at", 1),), expire_after_s=7 * 24 * 3600),
    ],
    # GridFS: the parts of a file in their order. The specification's own index, made by us because our writer is ours.
    "files.chunks": [
        ascending("files_id", "n", unique=True),
    ],
}


def fingerprint(table: Mapping[str, list[Index]] = INDEXES) -> str:
    """Changes when the table does; a start that finds it unchanged leaves the indexes alone."""
    rows = sorted(
        f"{name} {index.keys} {sorted(index.options().items())}" for name, rows in table.items() for index in rows
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


async def ensure_indexes(store: Store, table: Mapping[str, list[Index]] = INDEXES) -> None:
    """Makes what is missing, leaves what is there, drops nothing.

    An index with the same keys and other options is a mistake of a migration: the server's OperationFailure goes
    through.
    """
    for name, indexes in table.items():
        for index in indexes:
            await store.db[name].create_index(list(index.keys), **index.options())
