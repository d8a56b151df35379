"""The `messages` collection: every chat's lines, numbered from 1 without gaps by the journal.

All reads are of the majority at the primary: a number or an ack taken from a local read could be rolled back. Reads
are by range on (conversation, seq); a conversation is never sorted as a whole.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypedDict, cast

from pymongo.errors import BulkWriteError

from storage.mongo import Store

# How many numbers one look upwards covers: a cold start finds the end in few reads, and no read is unbounded.
_WINDOW = 500
# Messages that people did not write, looked over at once when the last spoken word is sought.
_SPOKEN_WINDOW = 50
_DUPLICATE_KEY = 11000


class Message(TypedDict):
    """`_id` is sender, device, conversation and the client's id, so that a repeat finds the first.

    `account` is "system" for what the hospital says. `body` is sealed JSON. `recalled_at` hides a message from
    everybody; it is never removed.
    """

    _id: str
    conversation: str
    seq: int
    account: str
    role: str
    kind: str
    body: str
    at: datetime
    recalled_at: datetime | None
    retain_until: datetime


class Outcome(Enum):
    """What became of one message of an `add`."""

    STORED = "stored"
    REPEATED = "repeated"  # its _id is there already
    TAKEN = "taken"  # its number in the conversation is another message's
    UNKNOWN = "unknown"  # perhaps stored, perhaps not, perhaps not for good


class MessageRepository:
    """Unique index: (conversation, seq)."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["messages"]
        self._read = store.majority("messages")
        self._hints = store.db["conversations"]

    async def add(self, messages: Sequence[Message]) -> list[Outcome]:
        """Store all that can be, in one journalled majority write; what became of each, in their order.

        Raises one of `STORE_AWAY` when nothing is known of any of them.
        """
        try:
            await self._docs.insert_many(messages, ordered=False)
        except BulkWriteError as error:
            return _outcomes(len(messages), cast("dict[str, Any]", error.details))
        return [Outcome.STORED] * len(messages)

    async def get(self, id_: str) -> Message | None:
        """The message with this `_id`."""
        return cast("Message | None", await self._read.find_one({"_id": id_}))

    async def at(self, conversation: str, seq: int) -> Message | None:
        """The message with this number."""
        return cast("Message | None", await self._read.find_one({"conversation": conversation, "seq": seq}))

    async def between(self, conversation: str, after: int, last: int) -> list[Message]:
        """Those numbered above `after` up to and including `last`, in order."""
        if last <= after:
            return []
        found = self._read.find({"conversation": conversation, "seq": {"$gt": after, "$lte": last}})
        return sorted(cast("list[Message]", await found.to_list(None)), key=lambda message: message["seq"])

    async def last_seq(self, conversation: str, known: int | None = None) -> int:
        """The highest number, 0 in an empty chat; `known` is one that is surely stored (else the late mark is)."""
        last = await self._hint(conversation) if known is None else known
        while True:
            window = {"$gt": last, "$lte": last + _WINDOW}
            found = self._read.find({"conversation": conversation, "seq": window}, {"_id": 0, "seq": 1})
            numbers = [document["seq"] for document in await found.to_list(None)]
            if not numbers:
                return last
            last = max(numbers)

    async def _hint(self, conversation: str) -> int:
        found = await self._hints.find_one({"_id": conversation}, {"last_seq": 1})
        return int(found["last_seq"]) if found else 0

    async def last_spoken_at(self, conversation: str) -> datetime | None:
        """When somebody last wrote; what the hospital itself says does not count. None: nobody has."""
        last = await self.last_seq(conversation)
        while last > 0:
            for message in reversed(await self.between(conversation, last - _SPOKEN_WINDOW, last)):
                if message["account"] != "system":
                    return message["at"]
            last -= _SPOKEN_WINDOW
        return None

    async def recall(self, id_: str, at: datetime) -> None:
        """Hide a message from everybody."""
        await self._docs.update_one({"_id": id_}, {"$set": {"recalled_at": at}})


def _outcomes(count: int, details: dict[str, Any]) -> list[Outcome]:
    # A write concern that was not met leaves even the undisputed ones unsure: they may be rolled back.
    unsure = bool(details.get("writeConcernErrors"))
    outcomes = [Outcome.UNKNOWN if unsure else Outcome.STORED] * count
    for error in details.get("writeErrors", ()):
        outcomes[error["index"]] = _outcome(error)
    return outcomes


def _outcome(error: dict[str, Any]) -> Outcome:
    if error["code"] != _DUPLICATE_KEY:
        return Outcome.UNKNOWN
    return Outcome.REPEATED if "_id" in error.get("keyPattern", {"_id": 1}) else Outcome.TAKEN
