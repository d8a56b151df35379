"""Shapes of orders on the wire. Amounts in fen."""

from marshmallow import Schema, fields, validate

from core.wire import Page, Time

STATUSES = ("pending", "paid", "refunding", "refunded", "closed")
KINDS = ("visit_fee", "prescription_fee", "shipping_fee")


class RefundView(Schema):
    """The refund of an order; `state` is the gateway's word, null before it has answered."""

    amount = fields.Int(required=True)
    reason = fields.Str(required=True)
    state = fields.Str(allow_none=True)
    requested_at = Time(required=True)
    succeeded_at = Time(allow_none=True)


class StepView(Schema):
    """One change of state: what happened, when, and who did it by role."""

    act = fields.Str(required=True)
    frm = fields.Str(required=True, data_key="from")
    to = fields.Str(required=True)
    role = fields.Str(required=True)
    reason = fields.Str(allow_none=True)
    at = Time(required=True)


class OrderView(Schema):
    """An order as its payer sees it."""

    id = fields.Str(attribute="_id", required=True)
    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    status = fields.Str(required=True, validate=validate.OneOf(STATUSES))
    visit = fields.Str(attribute="subject_id", required=True)
    description = fields.Str(required=True)
    amount = fields.Int(required=True, metadata={"description": "fen"})
    expires_at = Time(required=True)
    paid_at = Time(allow_none=True)
    refund = fields.Nested(RefundView, allow_none=True)
    created_at = Time(required=True)


class OrderDetail(OrderView):
    """With every change of state."""

    history = fields.List(fields.Nested(StepView), required=True)


class OrderQuery(Page):
    """Query of GET /orders."""

    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))


class OpenPayment(Schema):
    """Body of POST /orders/{id}/payment. `login_code` tells who pays when the account was not opened by WeChat."""

    channel = fields.Str(required=True, validate=validate.OneOf(["wechat_jsapi"]))
    login_code = fields.Str(load_default=None, validate=validate.Length(1, 128))


class PaymentParameters(Schema):
    """The parameters of `wx.requestPayment`, signed; WeChat's own names."""

    appId = fields.Str(required=True)  # noqa: N815 -- WeChat's name
    timeStamp = fields.Str(required=True)  # noqa: N815 -- WeChat's name
    nonceStr = fields.Str(required=True)  # noqa: N815 -- WeChat's name
    package = fields.Str(required=True)
    signType = fields.Str(required=True)  # noqa: N815 -- WeChat's name
    paySign = fields.Str(required=True)  # noqa: N815 -- WeChat's name
