"""The `orders` collection: what is to be paid, was paid, and was given back. Amounts in fen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from storage.mongo import Store
from storage.moves import Duty, HistoryEntry, Moving
from storage.traced import UNTRACED

OrderKind = Literal["visit_fee", "prescription_fee", "shipping_fee"]
OrderStatus = Literal["pending", "paid", "refunding", "refunded", "closed"]


class OrderRefund(TypedDict):
    """The one refund of an order, under its own number; `state` is the gateway's word, None before it answered."""

    out_refund_no: str
    amount: int
    reason: str
    state: str | None
    refund_id: str | None
    requested_at: datetime
    succeeded_at: datetime | None


class Order(TypedDict):
    """`_id` is also the number the gateway knows the order by (`out_trade_no`)."""

    _id: str
    kind: OrderKind
    status: OrderStatus
    version: int
    account_id: str
    doctor_id: str
    subject_id: str
    description: str
    amount: int
    payment_requested_at: datetime | None
    transaction_id: str | None
    paid_at: datetime | None
    refund: OrderRefund | None
    expires_at: datetime
    deadline_at: datetime | None
    created_at: datetime
    updated_at: datetime
    retain_until: datetime
    history: list[HistoryEntry]
    duties: list[Duty]


@dataclass(frozen=True)
class Calendar:
    """By what sums are gathered: `form` of `strftime`, and the `offset` from UTC in which the days are counted."""

    form: str
    offset: str


class Sum(TypedDict):
    """What one calendar day or month (`_id`: `YYYY-MM-DD`, `YYYY-MM`) comes to; `amount` in fen."""

    _id: str
    amount: int
    count: int


class OrderRepository(Moving):
    """An order is moved only by verified word of the gateway, or because its subject has ended."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["orders"])
        self._store = store

    async def page(self, account: str, *, before: str | None, limit: int, status: str | None = None) -> list[Order]:
        """An account's orders, newest first below `before`, at most `limit`."""
        prefix: dict[str, Any] = {"account_id": account}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}]
        if status is not None:
            stages.append({"$match": {"status": status}})
        return cast("list[Order]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def page_of_doctor(
        self,
        doctor_id: str,
        *,
        kind: OrderKind,
        before: str | None,
        limit: int,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Order]:
        """A doctor's orders of one kind made from `since` to before `until`, newest first below `before`."""
        prefix: dict[str, Any] = {"doctor_id": doctor_id}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        wanted: dict[str, Any] = {"kind": kind}
        if status is not None:
            wanted["status"] = status
        made = {sign: moment for sign, moment in (("$gte", since), ("$lt", until)) if moment is not None}
        if made:
            wanted["created_at"] = made
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}, {"$match": wanted}]
        return cast("list[Order]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def paid_to_doctor(
        self, doctor_id: str, *, kind: OrderKind, since: datetime, until: datetime, calendar: Calendar
    ) -> list[Sum]:
        """What was paid from `since` to before `until`, whatever became of it later."""
        return await self._sums("paid_at", "$amount", doctor_id, kind, since, until, calendar)

    async def refunded_by_doctor(
        self, doctor_id: str, *, kind: OrderKind, since: datetime, until: datetime, calendar: Calendar
    ) -> list[Sum]:
        """What was given back from `since` to before `until`, whenever it had been paid."""
        return await self._sums("refund.succeeded_at", "$refund.amount", doctor_id, kind, since, until, calendar)

    async def _sums(
        self,
        field: str,
        amount: str,
        doctor_id: str,
        kind: OrderKind,
        since: datetime,
        until: datetime,
        calendar: Calendar,
    ) -> list[Sum]:
        period = {"$dateToString": {"format": calendar.form, "date": f"${field}", "timezone": calendar.offset}}
        stages: list[dict[str, Any]] = [
            {"$match": {"doctor_id": doctor_id, field: {"$gte": since, "$lt": until}}},
            {"$match": {"kind": kind}},
            {"$group": {"_id": period, "amount": {"$sum": amount}, "count": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        return cast("list[Sum]", await self._store.aggregate(self._docs, stages))

    async def paid_between(self, begin: datetime, end: datetime) -> list[Order]:
        """Every order paid from `begin` on and before `end`, without its history."""
        return await self._between("paid_at", begin, end)

    async def refunds_between(self, begin: datetime, end: datetime) -> list[Order]:
        """Every order whose refund was begun from `begin` on and before `end`, without its history."""
        return await self._between("refund.requested_at", begin, end)

    async def _between(self, name: str, begin: datetime, end: datetime) -> list[Order]:
        found = await self._docs.find({name: {"$gte": begin, "$lt": end}}, {"history": 0, **UNTRACED}).to_list(None)
        return cast("list[Order]", found)

    async def page_of_refunds(
        self, *, before: str | None, limit: int, states: Sequence[str] = (), dead: bool = False
    ) -> list[Order]:
        """Orders whose money is on its way back, newest first below `before`, at most `limit`.

        `states` are the gateway's words on the refund; `dead` asks for those nobody works on until a person does.
        """
        prefix: dict[str, Any] = {"status": "refunding"}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}]
        if states:
            stages.append({"$match": {"refund.state": {"$in": list(states)}}})
        if dead:
            stages.append({"$match": {"duties.state": "dead"}})
        return cast("list[Order]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))
