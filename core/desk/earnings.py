"""What a doctor's patients paid for asking (D4.1): orders, and income by China's days and months.

Only consultation fees: what patients pay for drugs and their shipping is no doctor's income and is in no figure of a
doctor's (R2-7).
"""

from typing import TYPE_CHECKING, Any, Final

from core.auth import Caller
from core.compliance import mask_name
from core.desk import rules
from core.errors import Invalid
from core.ids import china_today
from storage.orders import Calendar, Order, OrderKind, Sum
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

FEE: Final[OrderKind] = "visit_fee"
CALENDARS: Final = {"day": Calendar("%Y-%m-%d", "+08:00"), "month": Calendar("%Y-%m", "+08:00")}


async def orders_page(
    ctx: "Context",
    *,
    caller: Caller,
    limit: int,
    cursor: str | None,
    status: str | None,
    first: str | None,
    last: str | None,
) -> list[dict[str, Any]]:
    """Orders of the doctor's visits, newest first, one more than `limit` when there are more.

    `first` and `last` are days in China on which the order was made, both included. The patient is a masked name; an
    unpaid order does not name its visit, which the doctor does not see yet.
    """
    if first and last and first > last:
        raise Invalid.field("from", "开始日期不能晚于结束日期")
    orders = await ctx.orders.page_of_doctor(
        caller.id,
        kind=FEE,
        before=cursor,
        limit=limit + 1,
        status=status,
        since=rules.day_begins(first) if first else None,
        until=rules.day_ends(last) if last else None,
    )
    visits = await ctx.visits.many([order["subject_id"] for order in orders])
    return [_line(ctx, order, visits.get(order["subject_id"])) for order in orders]


def _line(ctx: "Context", order: Order, visit: Visit | None) -> dict[str, Any]:
    name = ctx.cipher.open(visit["patient"]["name"], field="patient.name") if visit else ""
    return {
        **order,
        "visit": order["subject_id"] if order["paid_at"] is not None else None,
        "patient": mask_name(name),
    }


async def income(
    ctx: "Context", *, caller: Caller, by: rules.By, first: str | None, last: str | None
) -> dict[str, Any]:
    """Fees paid and given back in each period (fen), in the calendar's order, the quiet periods too, and in all.

    A refund counts when the money went back, not when it was paid, so that past periods never change; `net` may be
    negative. A first or last month holds only the days asked for.
    """
    span = rules.income_span(by, first, last, china_today(ctx.clock))
    asked: dict[str, Any] = {"kind": FEE, "since": span.since, "until": span.until, "calendar": CALENDARS[by]}
    paid = await ctx.orders.paid_to_doctor(caller.id, **asked)
    refunded = await ctx.orders.refunded_by_doctor(caller.id, **asked)
    return {
        "by": by,
        "first": span.first.isoformat(),
        "last": span.last.isoformat(),
        "items": [
            {"period": period, **_figures(_of(paid, period), _of(refunded, period))}
            for period in rules.periods(span, by)
        ],
        "total": _figures(paid, refunded),
    }


def _of(sums: list[Sum], period: str) -> list[Sum]:
    return [one for one in sums if one["_id"] == period]


def _figures(paid: list[Sum], refunded: list[Sum]) -> dict[str, int]:
    came, went = sum(one["amount"] for one in paid), sum(one["amount"] for one in refunded)
    return {
        "paid": came,
        "paid_count": sum(one["count"] for one in paid),
        "refunded": went,
        "refunded_count": sum(one["count"] for one in refunded),
        "net": came - went,
    }
