"""Pure rules of orders: schedules and amounts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from storage.orders import Order, OrderRefund

# When to ask the gateway about a payment that nobody notified, seconds after it was opened (WeChat Pay's advice).
QUERY_AFTER: Final[Sequence[int]] = (5, 30, 120, 600)
# While a refund is in process at the gateway.
REFUND_QUERY_SECONDS: Final = 60
# What the payer reads in WeChat's bill. The order's own reason may hold a doctor's words, which are nobody's outside.
REFUND_SAID: Final = "互联网医院咨询费退款"
# WeChat Pay refuses a `time_expire` that is less than a minute away.
SHORTEST_PAYMENT_SECONDS: Final = 65


def next_query_in(opened_at: datetime, now: datetime) -> float:
    """Seconds until the next query of a payment opened at `opened_at`."""
    age = (now - opened_at).total_seconds()
    return next((after - age for after in QUERY_AFTER if after > age), QUERY_AFTER[-1])


def full_refund(order: Order, *, reason: str, at: datetime) -> OrderRefund:
    """All of the order's money back, under a number that follows from the order's: it can only ever be one refund."""
    return OrderRefund(
        out_refund_no=f"{order['_id']}-R",
        amount=order["amount"],
        reason=reason,
        state=None,
        refund_id=None,
        requested_at=at,
        succeeded_at=None,
    )
