"""The journal against one insert per message, in this process, on the same embedded server.

Both sides store the same documents in collections of the same indexes with the same durable write concern, with as
many senders, each of which waits for its last message before it gives the next.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from core.ids import SystemClock, new_id
from core.policy import Policy
from im.entries import Entry, document, key_of, seal
from im.journal import Journal
from scripts.bench.client import TEXT
from storage.bus import Bus
from storage.conversations import ConversationRepository
from storage.encryption import FieldCipher
from storage.indexes import INDEXES, ensure_indexes
from storage.messages import Message, MessageRepository
from storage.mongo import Store
from storage.redis import connect
from storage.visits import VisitRepository

BODY: Final = {"text": TEXT}
_DATABASE: Final = "bench"


class Bench:
    """A journal, and a collection beside it, on open stores."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._cipher = FieldCipher({"bench": bytes(32)}, "bench", bytes(32))
        self._clock = SystemClock()
        self._policy = Policy()
        self._sealed = seal(self._cipher, BODY)
        self._journal = Journal(
            MessageRepository(store),
            ConversationRepository(store),
            VisitRepository(store),
            bus,
            self._cipher,
            self._clock,
            self._policy,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, mongo_uri: str, redis_url: str) -> "AsyncIterator[Bench]":
        """In a database of its own, for the time of a block."""
        store = await Store.open(mongo_uri, _DATABASE)
        redis = connect(redis_url)
        bus = Bus(redis, new_id(), prefix=_DATABASE)
        try:
            await ensure_indexes(store, {"messages": INDEXES["messages"], "inserts": INDEXES["messages"]})
            await bus.start()
            bench = cls(store, bus)
            bench._journal.start()
            try:
                yield bench
            finally:
                await bench._journal.stop()
                await bus.stop()
        finally:
            await redis.aclose()
            await store.close()

    async def inserts(self, senders: int, each: int) -> tuple[float, float]:
        """One `insert_one` a message: messages a second, and the median latency in milliseconds."""
        into = self._store.db["inserts"]
        conversations = [new_id() for _ in range(senders)]

        async def insert(sender: int, number: int) -> None:
            await into.insert_one(self._document(conversations[sender], number))

        return await closed_loops(insert, senders, each)

    async def posts(self, senders: int, each: int) -> tuple[float, float]:
        """The same through the journal, each sender in a conversation of its own, their last numbers known."""
        conversations = [new_id() for _ in range(senders)]

        async def post(sender: int, number: int) -> None:
            await self._post(conversations[sender], f"m{number}")

        await asyncio.gather(*(self._post(conversation, "first") for conversation in conversations))
        return await closed_loops(post, senders, each)

    def _post(self, conversation: str, request: str) -> Awaitable[Any]:
        return self._journal.post(
            key=key_of(conversation, "bench", conversation, request),
            conversation=conversation,
            account=conversation,
            role="patient",
            kind="text",
            body=BODY,
            to=[conversation, "doctor"],
        )

    def _document(self, conversation: str, number: int) -> Message:
        entry = Entry(
            id=key_of(conversation, "bench", conversation, f"m{number}"),
            conversation=conversation,
            account=conversation,
            role="patient",
            kind="text",
            body=BODY,
            sealed=self._sealed,
            to=[],
            future=asyncio.get_running_loop().create_future(),
            queued_at=0.0,
        )
        return document(entry, number + 1, self._clock.now(), self._policy.retain_chat_years)


async def closed_loops(step: Callable[[int, int], Awaitable[None]], senders: int, each: int) -> tuple[float, float]:
    """`step(sender, number)` by all senders at once, `each` times in a row: steps a second, median milliseconds."""
    took: list[float] = []

    async def send(sender: int) -> None:
        for number in range(each):
            began = time.perf_counter()
            await step(sender, number)
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(send(sender) for sender in range(senders)))
    return senders * each / (time.perf_counter() - began), statistics.median(took) * 1000
