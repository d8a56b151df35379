"""Documents whose every change the audit trail must hear of.

The update that changes a document marks it with `unaudited_since`, so that no crash can lose the step; a worker copies
the steps into the trail and takes the mark away (`core/auditing/collecting.py`). It is a duty of the same update with a
lane of its own: what waits for the trail never stands in front of what waits for a payment.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from storage.mongo import Collection, Document

MARK: Final = "unaudited_since"
COPIED: Final = "audited_steps"
# The trail's own notes on a document are no part of it: whoever reads one leaves them out.
UNTRACED: Final = {MARK: 0, COPIED: 0}
# What the trail copies; the rest of a document is none of its business.
_TOLD: Final = {name: 1 for name in ("history", COPIED, MARK, "at", "actor", "role", "created_at", "created_by")}


def owing(at: datetime) -> Document:
    """The part of an update that says so; the earliest change that waits keeps the mark."""
    return {"$min": {MARK: at}}


def owed(document: Mapping[str, Any], at: datetime | None = None) -> Document:
    """A new document with its mark: of the first step of its history, or of `at` where it has no history to tell it."""
    history = document.get("history")
    since = history[0]["at"] if history else at
    return dict(document) if since is None else {**document, MARK: since}


class Traced:
    """The base of repositories of such documents. The index it asks for: `storage.indexes.TRACED`."""

    def __init__(self, docs: Collection) -> None:
        self._docs = docs

    async def unaudited(self, limit: int) -> list[Document]:
        """Up to `limit` documents with steps that the trail has not got, and no more of them than that needs."""
        waiting = self._docs.find({MARK: {"$gt": datetime.min}}, _TOLD).limit(limit)
        found: list[Document] = await waiting.to_list(limit)
        return found

    async def note_audited(self, id_: Any, steps: int | None) -> bool:
        """The first `steps` of its history are in the trail (None: it has none and is one step itself).

        False: it was changed meanwhile and goes on waiting.
        """
        seen = {"_id": id_} if steps is None else {"_id": id_, "history": {"$size": steps}}
        change: Document = {"$unset": {MARK: ""}}
        if steps is not None:
            change["$set"] = {COPIED: steps}
        return bool((await self._docs.update_one(seen, change)).matched_count)
