"""The `orders` collection: what is to be paid, was paid, and was given back. Amounts in fen."""

from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import Duty, HistoryEntry, Moving

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


class OrderRepository(Moving):
    """An order is moved only by verified word of the gateway, or because its subject has ended."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["orders"])
        self._store = store

    async def add(self, order: Order) -> bool:
        """Store a new order; False: it is there already."""
        try:
            await self._docs.insert_one(order)
        except DuplicateKey:
            return False
        return True

    async def page(self, account: str, *, before: str | None, limit: int, status: str | None = None) -> list[Order]:
        """An account's orders, newest first below `before`, at most `limit`."""
        prefix: dict[str, Any] = {"account_id": account}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}]
        if status is not None:
            stages.append({"$match": {"status": status}})
        return cast("list[Order]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))
