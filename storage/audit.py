"""The collections `audit_entries` and `audit_blocks`: who did what, and the chain of blocks that seals it.

Entries are only ever added; the one field of them that changes is `block`, from 0 to the number of the block that
sealed it. Blocks number from 1 without gaps, and a number can be written once.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict, cast

from pymongo.errors import BulkWriteError, WriteConcernError

from storage.mongo import Document, DuplicateKey, Store

UNSEALED: Final = 0
SEALER: Final = "sealer"
EXPORTED: Final = 100
_DUPLICATE_KEY: Final = 11000


class AuditEntry(TypedDict):
    """One act. `_id` is a ULID of `at`, so that ids sort by time; no field holds personal data.

    `subject` is a kind and an id (`visit:01J…`), `act` a dotted name; `frm` and `to` are states, `reason` one word.
    """

    _id: str
    at: datetime
    actor: str
    role: str
    act: str
    subject: str | None
    frm: str | None
    to: str | None
    reason: str | None
    request: str | None
    address: str | None
    retain_until: datetime
    block: int


class Sealed(TypedDict):
    """An entry as its block has it."""

    id: str
    digest: str


class Block(TypedDict):
    """`_id` is the number, `previous` the hash of the block before, `hash` that of everything else in this one."""

    _id: int
    previous: str
    sealed_at: datetime
    count: int
    entries: list[Sealed]
    hash: str


class Head(TypedDict):
    """The last block whose entries all bear its number."""

    number: int
    hash: str


class AuditEntryRepository:
    """Indexes: (block, at) for the sealer, and `at` alone, behind actor, behind subject and behind act for readers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._docs = store.db["audit_entries"]
        self._read = store.majority("audit_entries")

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Store them in one write; those that are there already stay as they are.

        Raises one of `STORE_AWAY`: then it is not known which of them are stored.
        """
        try:
            await self._docs.insert_many(list(entries), ordered=False)
        except BulkWriteError as error:
            details = cast("Mapping[str, Any]", error.details)
            if details.get("writeConcernErrors"):
                raise WriteConcernError("audit entries are not on a majority") from error
            if any(fault["code"] != _DUPLICATE_KEY for fault in details.get("writeErrors", ())):
                raise

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        until: datetime | None = None,
        since: datetime | None = None,
        actor: str | None = None,
        subject: str | None = None,
        act: str | None = None,
    ) -> list[AuditEntry]:
        """Newest first, below the id `before`, from `since` to before `until`, at most `limit`."""
        given = {name: value for name, value in (("subject", subject), ("actor", actor), ("act", act)) if value}
        # Equality on the prefix of an index and one range; what else is asked goes into a stage of its own (0002).
        first = next(iter(given), None)
        span = {sign: moment for sign, moment in (("$gte", since), ("$lt", until)) if moment is not None}
        match: Document = {first: given.pop(first)} if first else {}
        match["at"] = span or {"$gt": datetime.min}
        wanted: Document = {**given, **({"_id": {"$lt": before}} if before is not None else {})}
        stages: list[Document] = [{"$match": match}, {"$sort": {"_id": -1}}]
        if wanted:
            stages.append({"$match": wanted})
        return cast("list[AuditEntry]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def between(self, since: datetime, until: datetime) -> AsyncIterator[list[AuditEntry]]:
        """Everything from `since` to before `until`, oldest first, in lists of at most `EXPORTED`."""
        found = self._read.find({"at": {"$gte": since, "$lt": until}}).sort("at", 1).batch_size(EXPORTED)
        while batch := await found.to_list(EXPORTED):
            yield cast("list[AuditEntry]", batch)

    async def unsealed(self, limit: int) -> list[AuditEntry]:
        """Up to `limit` entries that no block has, those of the oldest acts first, however late they came."""
        found = self._read.find({"block": UNSEALED}).sort("at", 1).limit(limit)
        return cast("list[AuditEntry]", await found.to_list(limit))

    async def count_unsealed(self, most: int) -> int:
        """How many entries no block has; counted up to `most`."""
        return int(await self._docs.count_documents({"block": UNSEALED}, limit=most))

    async def seal(self, ids: Collection[str], number: int) -> None:
        """Write the number of their block on these entries; doing it twice is doing it once."""
        await self._docs.update_many({"_id": {"$in": list(ids)}}, {"$set": {"block": number}})

    async def of_block(self, number: int) -> list[Document]:
        """The entries that bear this number, with every field that anybody may have put into them."""
        found: list[Document] = await self._read.find({"block": number}).to_list(None)
        return found

    async def strays(self, last: int, limit: int) -> list[Document]:
        """Up to `limit` entries of each kind that bear what is no number of a block up to `last`."""
        found: list[Document] = []
        for wrong in ({"$gt": last}, {"$lt": UNSEALED}, {"$gt": ""}, None):
            found += await self._read.find({"block": wrong}, {"block": 1}).limit(limit).to_list(limit)
        return found


class AuditBlockRepository:
    """The chain, and beside it the sealer's lease and the head that the sealer knows (`audit_sealer`)."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["audit_blocks"]
        self._read = store.majority("audit_blocks")
        self._sealer = store.db["audit_sealer"]

    async def take(self, holder: str, *, now: datetime, until: datetime) -> bool:
        """Take or renew the sealer's lease until `until`; False: another process has it.

        The lease spares work, the unique number of a block keeps the chain right.
        """
        held = {"holder": holder, "until": until}
        for seen in ({"_id": SEALER, "holder": holder}, {"_id": SEALER, "until": {"$lte": now}}):
            if (await self._sealer.update_one(seen, {"$set": held})).matched_count:
                return True
        try:
            await self._sealer.insert_one({"_id": SEALER, **held, "number": 0, "hash": ""})
        except DuplicateKey:
            return False
        return True

    async def head(self) -> Head:
        """What the sealer has finished; number 0 before the first block."""
        found = await self._sealer.find_one({"_id": SEALER})
        return Head(number=found["number"], hash=found["hash"]) if found else Head(number=0, hash="")

    async def finish(self, number: int, hash_: str) -> None:
        """Note that the entries of this block bear its number; a later one that stands there stays."""
        await self._sealer.update_one(
            {"_id": SEALER, "number": {"$lt": number}}, {"$set": {"number": number, "hash": hash_}}
        )

    async def add(self, block: Block) -> bool:
        """Append a block; False: another has this number."""
        try:
            await self._docs.insert_one(dict(block))
        except DuplicateKey:
            return False
        return True

    async def get(self, number: int) -> Block | None:
        """The block of this number."""
        return cast("Block | None", await self._read.find_one({"_id": number}))

    async def last_number(self) -> int:
        """The highest number there is; 0 before the first block."""
        found = await self._read.find({}, {"_id": 1}).sort("_id", -1).limit(1).to_list(1)
        return int(found[0]["_id"]) if found else 0
