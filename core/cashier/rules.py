"""Comparing a day's money with the gateway's bill, to the fen and both ways; and what becomes of a refund's number.

A payment belongs to the day it was made, a refund to the day the gateway accepted it. The bill is older than what we
know, so a refund that was still on its way in the bill may have arrived since; the other way round is a difference.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from core.ids import CHINA
from core.ports import Bill, BilledPayment, BilledRefund, RefundState
from storage.orders import Order, OrderRefund
from storage.reconciliations import Difference, Totals

# The gateway makes the bill of a day at 10:00 of the next; some minutes later it is there.
BILL_READY: Final = time(10, 10, tzinfo=CHINA)
# The gateway gives out bills of the last three months.
OLDEST_BILL: Final = timedelta(days=90)
# A worker that was away compares what it missed, this many days back.
CAUGHT_UP: Final = 14
FAILED: Final = frozenset({RefundState.ABNORMAL, RefundState.CLOSED})
FAILED_STATES: Final = tuple(sorted(str(state) for state in FAILED))


@dataclass(frozen=True)
class Comparison:
    """Both sides' sums and what they tell differently."""

    ours: Totals
    theirs: Totals
    differences: list[Difference]


@dataclass(frozen=True)
class Span:
    """A calendar day of China as moments: from `begin` on and before `end`."""

    begin: datetime
    end: datetime

    def holds(self, moment: datetime | None) -> bool:
        """Whether the moment is of that day."""
        return moment is not None and self.begin <= moment < self.end


def span_of(day: date) -> Span:
    """The day's first moment and the next one's."""
    begin = datetime.combine(day, time(tzinfo=CHINA)).astimezone(UTC)
    return Span(begin, begin + timedelta(days=1))


def days_to_compare(now: datetime, done: Collection[str]) -> list[date]:
    """The days whose bill is there and which nobody has compared, oldest first.

    Yesterday, and what was missed since the first compared day of the last `CAUGHT_UP`.
    """
    here = now.astimezone(CHINA)
    newest = here.date() - timedelta(days=1 if here.timetz() >= BILL_READY else 2)
    days = [newest - timedelta(days=back) for back in range(CAUGHT_UP, -1, -1)]
    first = next((place for place, day in enumerate(days) if day.isoformat() in done), len(days) - 1)
    return [day for day in days[first:] if day.isoformat() not in done]


def compare(bill: Bill, orders: Mapping[str, Order], *, of_other_days: Collection[str]) -> Comparison:
    """`orders`: those paid or begun to be refunded on the day, and those the bill names, by id.

    `of_other_days`: numbers of refunds begun on the day which the gateway accepted on another.
    """
    span = span_of(bill.day)
    paid, differences = _payments(bill, orders, span)
    refunded, refund_differences = _refunds(bill, orders, span, of_other_days)
    told = [row for row in bill.refunds if not _is_given_up(row, orders.get(row.out_trade_no))]
    ours = _totals([order["amount"] for order in paid], [refund["amount"] for refund in refunded])
    theirs = _totals([row.amount for row in bill.payments], [row.amount for row in told])
    return Comparison(ours, theirs, differences + refund_differences)


def unbilled_refunds(bill: Bill, orders: Iterable[Order]) -> list[OrderRefund]:
    """Refunds begun on the day of the bill that it does not name."""
    span, billed = span_of(bill.day), {row.out_refund_no for row in bill.refunds}
    refunds = [order["refund"] for order in orders]
    return [one for one in refunds if one and span.holds(one["requested_at"]) and one["out_refund_no"] not in billed]


def next_refund_number(order_id: str, number: str) -> str:
    """The number after a refund that the gateway has closed: `…-R`, `…-R2`, `…-R3`."""
    tried = number.removeprefix(f"{order_id}-R")
    return f"{order_id}-R{int(tried or 1) + 1}"


def _totals(paid: list[int], refunded: list[int]) -> Totals:
    return Totals(payments=len(paid), paid=sum(paid), refunds=len(refunded), refunded=sum(refunded))


def _payments(bill: Bill, orders: Mapping[str, Order], span: Span) -> tuple[list[Order], list[Difference]]:
    """Our payments of the day, and what the bill says differently."""
    ours: dict[str, Order] = {}
    differences = []
    for row in bill.payments:
        order = orders.get(row.out_trade_no)
        if order is None or row.out_trade_no in ours:
            differences.append(_payment_difference("missing_here", row, None))
        elif order["paid_at"] is None:
            differences.append(_payment_difference("state_differs", row, order))
        else:
            ours[row.out_trade_no] = order
            if order["amount"] != row.amount:
                differences.append(_payment_difference("amount_differs", row, order))
    billed = {row.out_trade_no for row in bill.payments}
    for id_, order in orders.items():
        if span.holds(order["paid_at"]) and id_ not in billed:
            ours[id_] = order
            differences.append(_payment_difference("missing_at_gateway", None, order))
    return list(ours.values()), differences


def _refunds(
    bill: Bill, orders: Mapping[str, Order], span: Span, of_other_days: Collection[str]
) -> tuple[list[OrderRefund], list[Difference]]:
    """Our refunds of the day, and what the bill says differently."""
    ours: dict[str, OrderRefund] = {}
    differences = []
    for row in bill.refunds:
        order = orders.get(row.out_trade_no)
        refund = order["refund"] if order else None
        if _is_given_up(row, order):
            continue
        if order is None or refund is None or refund["out_refund_no"] != row.out_refund_no or row.out_refund_no in ours:
            differences.append(_refund_difference("refund_missing_here", row, order, None))
            continue
        ours[row.out_refund_no] = refund
        if refund["amount"] != row.amount:
            differences.append(_refund_difference("refund_amount_differs", row, order, refund))
        if not _may_follow(row.state, refund["state"]):
            differences.append(_refund_difference("refund_state_differs", row, order, refund))
    billed = {row.out_refund_no for row in bill.refunds} | set(of_other_days)
    for order in orders.values():
        refund = order["refund"]
        if refund and span.holds(refund["requested_at"]) and refund["out_refund_no"] not in billed:
            ours[refund["out_refund_no"]] = refund
            differences.append(_refund_difference("refund_missing_at_gateway", None, order, refund))
    return list(ours.values()), differences


def _is_given_up(row: BilledRefund, order: Order | None) -> bool:
    """A refund that failed and for which the order has a new number since: no money moved by it."""
    if order is None or order["refund"] is None or row.state not in FAILED:
        return False
    return order["refund"]["out_refund_no"] != row.out_refund_no and row.out_refund_no.startswith(f"{order['_id']}-R")


def _may_follow(billed: RefundState, known: str | None) -> bool:
    """Whether what we know may have come of what the bill says."""
    if billed is RefundState.PROCESSING:
        return True
    if billed is RefundState.SUCCESS:
        return known == RefundState.SUCCESS
    return known in (*FAILED, RefundState.SUCCESS)


def _payment_difference(kind: str, row: BilledPayment | None, order: Order | None) -> Difference:
    return Difference(
        kind=kind,
        order_id=row.out_trade_no if row else order["_id"] if order else "",
        out_refund_no=None,
        transaction_id=row.transaction_id if row else order["transaction_id"] if order else None,
        our_amount=order["amount"] if order else None,
        our_state=order["status"] if order else None,
        their_amount=row.amount if row else None,
        their_state="SUCCESS" if row else None,
    )


def _refund_difference(
    kind: str, row: BilledRefund | None, order: Order | None, refund: OrderRefund | None
) -> Difference:
    return Difference(
        kind=kind,
        order_id=row.out_trade_no if row else order["_id"] if order else "",
        out_refund_no=row.out_refund_no if row else refund["out_refund_no"] if refund else None,
        transaction_id=order["transaction_id"] if order else None,
        our_amount=refund["amount"] if refund else None,
        our_state=(refund["state"] if refund else None) or (order["status"] if order else None),
        their_amount=row.amount if row else None,
        their_state=str(row.state) if row else None,
    )
