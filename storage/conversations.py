"""The `conversations` collection: what is known of a chat besides its messages. Its `_id` is the visit's.

Both marks only rise and are written late: `last_seq` is a hint from which a reader goes on upwards in `messages`, a
read mark is how far a member has read. A missing document means nothing was written yet, not that there is no chat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, cast

from pymongo import UpdateOne

from storage.mongo import Store


class Conversation(TypedDict):
    """`read` is the highest seq each member has read, by account."""

    _id: str
    last_seq: int
    read: dict[str, int]


@dataclass
class Raise:
    """How far the marks of one conversation have come; 0 and absent members change nothing."""

    last_seq: int = 0
    read: dict[str, int] = field(default_factory=dict)


class ConversationRepository:
    """Found by `_id` only."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["conversations"]

    async def get(self, id_: str) -> Conversation | None:
        """The marks of one conversation."""
        return cast("Conversation | None", await self._docs.find_one({"_id": id_}))

    async def many(self, ids: Sequence[str]) -> dict[str, Conversation]:
        """Those of the conversations that have marks, by id."""
        found = await self._docs.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {document["_id"]: cast("Conversation", document) for document in found}

    async def raise_marks(self, raises: Mapping[str, Raise]) -> None:
        """Lift every mark to at least what is given, in one call."""
        if not raises:
            return
        updates = []
        for id_, to in raises.items():
            marks = {"last_seq": to.last_seq} | {f"read.{account}": seq for account, seq in to.read.items()}
            updates.append(UpdateOne({"_id": id_}, {"$max": marks}, upsert=True))
        await self._docs.bulk_write(updates, ordered=False)
