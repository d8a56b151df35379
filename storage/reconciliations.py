"""The `reconciliations` collection: what comparing a day's money with the gateway's bill found. Amounts in fen."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict, cast

from storage.mongo import DuplicateKey, Store

# Runs kept of one day; a cashier repeats a day a few times.
RUNS: Final = 50


class Totals(TypedDict):
    """One side's money of a day."""

    payments: int
    paid: int
    refunds: int
    refunded: int


class Difference(TypedDict):
    """One thing the two sides tell differently; a side that does not know it has no amount and no state."""

    kind: str
    order_id: str
    out_refund_no: str | None
    transaction_id: str | None
    our_amount: int | None
    our_state: str | None
    their_amount: int | None
    their_state: str | None


class Run(TypedDict):
    """One comparison that came to its end; `by` is an account or "system"."""

    version: int
    at: datetime
    by: str
    ours: Totals
    theirs: Totals
    differences: int


class Reconciliation(TypedDict):
    """`_id` is the day, `YYYY-MM-DD` in China; `day` says the same, for the list. `version` 0: no run has ended.

    `differences` holds at most as many as the service lists, `difference_count` counts them all.
    """

    _id: str
    day: str
    version: int
    at: datetime
    by: str
    ours: Totals | None
    theirs: Totals | None
    differences: list[Difference]
    difference_count: int
    runs: list[Run]
    lease: str | None
    lease_until: datetime


class ReconciliationRepository:
    """Unique index: day. One document a day; a run holds its lease, so that of two that start at once one compares."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._docs = store.db["reconciliations"]

    async def get(self, day: str) -> Reconciliation | None:
        """The last result of a day; None: no run of it has ended."""
        found = await self._docs.find_one({"_id": day})
        return cast("Reconciliation", found) if found is not None and found["version"] else None

    async def page(self, *, before: str | None, limit: int) -> list[Reconciliation]:
        """Compared days, newest first below `before`, without their differences and runs, at most `limit`."""
        days = {"day": {"$gt": ""}} if before is None else {"day": {"$lt": before}}
        stages: list[dict[str, Any]] = [
            {"$match": days},
            {"$sort": {"day": -1}},
            {"$match": {"version": {"$gt": 0}}},
            {"$limit": limit},
            {"$project": {"differences": 0, "runs": 0}},
        ]
        return cast("list[Reconciliation]", await self._store.aggregate(self._docs, stages))

    async def done_since(self, day: str) -> set[str]:
        """The days from `day` on that have been compared."""
        found = await self._docs.find({"day": {"$gte": day}}, {"version": 1}).to_list(None)
        return {one["_id"] for one in found if one["version"]}

    async def begin(self, day: str, *, token: str, now: datetime, until: datetime, first: bool = False) -> int | None:
        """Take the day's lease until `until`; the version of its last result, 0 for none. None: another run has it.

        `first`: a day that has a result is not begun either.
        """
        empty = Reconciliation(
            _id=day,
            day=day,
            version=0,
            at=now,
            by="",
            ours=None,
            theirs=None,
            differences=[],
            difference_count=0,
            runs=[],
            lease=token,
            lease_until=until,
        )
        try:
            await self._docs.insert_one(empty)
        except DuplicateKey:
            seen = await self._docs.find_one({"_id": day})
            if seen is None or (seen["lease"] is not None and seen["lease_until"] > now) or (first and seen["version"]):
                return None
            held = {"_id": day, "version": seen["version"], "lease": seen["lease"], "lease_until": seen["lease_until"]}
            taken = await self._docs.update_one(held, {"$set": {"lease": token, "lease_until": until}})
            return int(seen["version"]) if taken.matched_count else None
        return 0

    async def finish(self, day: str, *, token: str, run: Run, differences: Sequence[Difference]) -> bool:
        """Replace the day's result by this run's; False: the lease had ended and another run has taken the day."""
        result = {
            "version": run["version"],
            "at": run["at"],
            "by": run["by"],
            "ours": run["ours"],
            "theirs": run["theirs"],
            "differences": list(differences),
            "difference_count": run["differences"],
            "lease": None,
        }
        done = await self._docs.update_one(
            {"_id": day, "lease": token, "version": run["version"] - 1},
            {"$set": result, "$push": {"runs": {"$each": [run], "$slice": -RUNS}}},
        )
        return bool(done.matched_count)

    async def give_up(self, day: str, *, token: str) -> None:
        """Let go of a day whose bill could not be compared; an earlier result stays."""
        await self._docs.update_one({"_id": day, "lease": token}, {"$set": {"lease": None}})
