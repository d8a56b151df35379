"""Shapes of the cashier's office on the wire. Amounts in fen, days in China."""

from marshmallow import Schema, fields, validate

from core.orders.schemas import OrderDetail, RefundView
from core.wire import Day, Page, Time, text

KINDS = (
    "missing_at_gateway",
    "missing_here",
    "amount_differs",
    "state_differs",
    "refund_missing_at_gateway",
    "refund_missing_here",
    "refund_amount_differs",
    "refund_state_differs",
)


class TotalsView(Schema):
    """One side's payments and refunds of a day: how many, and how much."""

    payments = fields.Int(required=True)
    paid = fields.Int(required=True, metadata={"description": "fen"})
    refunds = fields.Int(required=True)
    refunded = fields.Int(required=True, metadata={"description": "fen"})


class DifferenceView(Schema):
    """One thing the two sides tell differently; null where a side does not know it."""

    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    order = fields.Str(required=True, attribute="order_id")
    out_refund_no = fields.Str(required=True, allow_none=True)
    transaction_id = fields.Str(required=True, allow_none=True)
    our_amount = fields.Int(required=True, allow_none=True, metadata={"description": "fen"})
    our_state = fields.Str(required=True, allow_none=True)
    their_amount = fields.Int(required=True, allow_none=True, metadata={"description": "fen"})
    their_state = fields.Str(required=True, allow_none=True)


class RunView(Schema):
    """One comparison of the day; `by` is an account or `system`."""

    version = fields.Int(required=True)
    at = Time(required=True)
    by = fields.Str(required=True)
    ours = fields.Nested(TotalsView, required=True)
    theirs = fields.Nested(TotalsView, required=True)
    differences = fields.Int(required=True)


class ReconciledDay(Schema):
    """A day in the list, as its last comparison found it."""

    day = fields.Str(required=True, attribute="_id")
    version = fields.Int(required=True)
    at = Time(required=True)
    by = fields.Str(required=True)
    ours = fields.Nested(TotalsView, required=True)
    theirs = fields.Nested(TotalsView, required=True)
    difference_count = fields.Int(required=True)


class ReconciliationView(ReconciledDay):
    """With the differences themselves, at most 1,000, and every comparison made so far."""

    differences = fields.List(fields.Nested(DifferenceView), required=True)
    runs = fields.List(fields.Nested(RunView), required=True)


class DaysQuery(Schema):
    """Query of GET /admin/reconciliation; the cursor is a day."""

    limit = fields.Int(load_default=20, validate=validate.Range(1, 100), metadata={"description": "1 to 100"})
    cursor = Day(load_default=None, metadata={"description": "`next_cursor` of the last page"})


class RefundsQuery(Page):
    """Query of GET /admin/orders.

    `abnormal`: the gateway could not pay it out, or closed it; `stopped`: given up for whatever reason, nobody works on
    it until a person does; `open`: all that have not arrived.
    """

    refund = fields.Str(required=True, validate=validate.OneOf(["abnormal", "stopped", "open"]))


class RetryRefund(Schema):
    """Body of POST /admin/orders/{id}/refund/retry.

    `reason` is kept in the order's history, which its payer reads as well. `to`: `payer` asks the gateway again;
    `hospital` has an abnormal refund paid out to the hospital's bank account, for the cashier to give to the patient.
    """

    reason = text(1, 200, required=True)
    to = fields.Str(load_default="payer", validate=validate.OneOf(["payer", "hospital"]))


class OfficeRefundView(RefundView):
    """With the numbers by which it is found in the merchant's own pages of WeChat Pay."""

    out_refund_no = fields.Str(required=True)
    refund_id = fields.Str(required=True, allow_none=True)


class StoppedView(Schema):
    """What nobody works on until a person does; `error` is a code of the gateway's or the name of a failure."""

    kind = fields.Str(required=True)
    attempts = fields.Int(required=True)
    error = fields.Str(required=True, allow_none=True)


class OfficeOrderView(OrderDetail):
    """An order as the cashier sees it: no patient is named."""

    doctor = fields.Str(required=True, attribute="doctor_id")
    transaction_id = fields.Str(required=True, allow_none=True)
    refund = fields.Nested(OfficeRefundView, required=True, allow_none=True)
    stopped = fields.List(fields.Nested(StoppedView), required=True)
