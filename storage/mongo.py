"""The one door to MongoDB: what differs between Motor and PyMongo's async API is here, so that nothing else knows.

Everything else (`find_one`, `update_one`, `insert_many`, `create_index`, `find().to_list()` …) is the same coroutine in
both, and repositories call it on `store.db` themselves. They never call `aggregate`, `watch`, `start_session` or
`list_indexes` there: those are a coroutine in one driver and a plain call in the other.

An address decides by itself whether writes are retried by the driver: `retryWrites=false` stands in the address of
the embedded server, which scans its whole retry table at each retryable write; every other address keeps the driver's
default, true. `weak_points` says what an address lacks for production.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

Driver = Literal["motor", "pymongo"]
Document: TypeAlias = dict[str, Any]
# Typed as PyMongo's async classes for both drivers; with Motor the object is Motor's, whose calls used here are alike.
Database: TypeAlias = AsyncDatabase[Any]
Collection: TypeAlias = AsyncCollection[Any]
Session: TypeAlias = Any

DuplicateKey = DuplicateKeyError


class StoreBusy(Exception):
    """A transaction met others' writes again and again and was given up; nothing of it is stored."""


# What the doors answer with 503 `unavailable`. After any of them the outcome of a write is unknown: it may be stored.
STORE_AWAY: tuple[type[BaseException], ...] = (ConnectionFailure, ExecutionTimeout, WriteConcernError, StoreBusy)
# A server whose disk is full or broken goes on answering: OutOfDiskSpace, or InternalError for all that it cannot name.
_BROKEN_CODES = frozenset({1, 14031})


def is_broken(error: BaseException) -> bool:
    """Whether the server has told that it cannot do its work, whatever it was asked; the outcome is unknown then."""
    return isinstance(error, OperationFailure) and error.code in _BROKEN_CODES


_WAITS_MS = {
    "serverSelectionTimeoutMS": 3_000,
    "connectTimeoutMS": 3_000,
    "socketTimeoutMS": 10_000,
    "waitQueueTimeoutMS": 5_000,
    "wTimeoutMS": 8_000,  # below the socket's, so that a slow majority is told apart from a lost link
}
_DURABLE = {"w": "majority", "journal": "true"}
# A conflict is over when the other transaction commits, which takes milliseconds; a crashed client's transaction holds
# the embedded server for 60 s, and nobody's request waits that long.
_TRANSACTION_SECONDS = 8.0

Result = TypeVar("Result")


def _said(uri: str) -> dict[str, str]:
    """The options an address carries, names in lower case, `j` under its long name."""
    options = {name.lower(): value for name, value in parse_qsl(uri.partition("?")[2].replace(";", "&"))}
    if "j" in options:
        options["journal"] = options.pop("j")
    return options


def weak_points(uri: str) -> list[str]:
    """What acknowledged writes could be lost by, as the `option=value` it ought to carry; empty for production.

    `w=majority` and `journal=true` are set by `Store.open` when absent, so only contradictions count; `retryWrites`
    must not be off, because a primary's change would fail writes that the driver can repeat by itself.
    """
    said = _said(uri)
    wanted = _DURABLE | {"retrywrites": "true"}
    return [f"{name}={value}" for name, value in wanted.items() if said.get(name, value).lower() != value]


def _options(uri: str) -> dict[str, Any]:
    said = _said(uri)
    weak = [fault for fault in weak_points(uri) if not fault.startswith("retrywrites")]
    if weak:
        raise ValueError(f"the MongoDB address weakens durability; it must say {' and '.join(weak)} or nothing")
    options: dict[str, Any] = {name: value for name, value in _WAITS_MS.items() if name.lower() not in said}
    return options | {"w": "majority", "journal": True, "tz_aware": True, "uuidRepresentation": "standard"}


class Store:
    """One open database. Answers within the waits above or raises one of `STORE_AWAY`; times are aware and UTC."""

    def __init__(self, client: Any, database: str, driver: Driver) -> None:
        self._client = client
        self.driver: Driver = driver
        self.db: Database = client[database]

    async def unfit_for_production(self) -> list[str]:
        """What keeps the server behind the address from holding a hospital's records; empty when nothing does.

        Asked of the server, because an address does not tell: the embedded one, which is for one machine, and one
        without a replica set, where a majority is one disk and no other takes over.
        """
        admin = self._client.admin
        faults = ["is the embedded server"] if "secantusVersion" in await admin.command("buildInfo") else []
        hello = await admin.command("hello")
        # A router of a sharded cluster, whose shards are replica sets, says so in its own way.
        return faults if "setName" in hello or hello.get("msg") == "isdbgrid" else [*faults, "is no replica set"]

    @classmethod
    async def open(
        cls, uri: str, database: str, *, driver: Driver = "motor", listeners: Sequence[CommandListener] = ()
    ) -> Self:
        """Makes a client for this running loop; connects at first use, so an absent server is told by the first call.

        `listeners` see every command (slow-query logs, tests of plans); they are called in the driver's threads.

        Raises ValueError for an address that asks for less than majority, journalled writes.
        """
        options = _options(uri) | {"event_listeners": list(listeners)}
        if driver == "motor":
            return cls(AsyncIOMotorClient(uri, io_loop=asyncio.get_running_loop(), **options), database, driver)
        return cls(AsyncMongoClient(uri, **options), database, driver)

    async def close(self) -> None:
        """Ends all connections; an unfinished call of another task fails."""
        closing = self._client.close()
        if closing is not None:
            await closing

    async def drop(self) -> None:
        """Removes the whole database (demo data begun afresh, and tests)."""
        await self._client.drop_database(self.db.name)

    async def ping_write(self, now: datetime | None = None) -> None:
        """Writes and reads back one small document; a server that only listens, or has lost its disk, raises."""
        seen_at = now or datetime.now(UTC)
        await self.db["probes"].update_one({"_id": "write"}, {"$set": {"at": seen_at}}, upsert=True)

    def majority(self, collection: str) -> Collection:
        """The collection read at the primary as a majority has it: what is read cannot be rolled back."""
        return self.db.get_collection(
            collection, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority")
        )

    async def aggregate(
        self,
        collection: str | Collection,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        session: Session = None,
        **options: Any,
    ) -> list[Document]:
        """All results of a pipeline; bound it with `$limit`."""
        source: Any = self.db[collection] if isinstance(collection, str) else collection
        cursor = source.aggregate(list(pipeline), session=session, **options)
        if self.driver == "pymongo":
            cursor = await cursor
        found: list[Document] = await cursor.to_list(None)
        return found

    async def transaction(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        """Runs `work(session)` as one transaction, again from its beginning after a conflict, within 8 s.

        `work` passes the session to every call and does nothing else that counts, for it may run several times. Only
        for what no single update can do: see `Moving` for two documents that must agree. Raises StoreBusy when
        conflicts did not end, whatever `work` raised otherwise; then nothing is stored.
        """
        deadline = asyncio.get_running_loop().time() + _TRANSACTION_SECONDS
        starting = self._client.start_session()
        async with await starting if self.driver == "motor" else starting as session:
            for attempt in range(1_000):
                try:
                    return await self._attempt(session, work, deadline)
                except PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError"):
                        raise
                    if asyncio.get_running_loop().time() > deadline:
                        raise StoreBusy("a transaction met conflicts until its time was over") from error
                pause = min(0.2, 0.005 * 2 ** min(attempt, 6))
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spread, not secrecy
        raise StoreBusy("a transaction met conflicts a thousand times")

    async def _attempt(self, session: Any, work: Callable[[Session], Awaitable[Result]], deadline: float) -> Result:
        starting = session.start_transaction()
        async with starting if self.driver == "motor" else await starting:
            result = await work(session)
            while True:
                try:
                    await session.commit_transaction()
                except PyMongoError as error:
                    unknown = error.has_error_label("UnknownTransactionCommitResult")
                    if not unknown or asyncio.get_running_loop().time() > deadline:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return result

    @asynccontextmanager
    async def watch(
        self, collection: str, pipeline: Sequence[Mapping[str, Any]] = (), **options: Any
    ) -> AsyncIterator[AsyncIterator[Document]]:
        """A change stream of one collection, opened (it sees everything from here on) and closed with the block."""
        source: Any = self.db[collection]
        opening = source.watch(list(pipeline), **options)
        async with opening if self.driver == "motor" else await opening as stream:
            if self.driver == "motor":
                await stream.try_next()  # Motor opens the stream only at its first read
            yield stream
