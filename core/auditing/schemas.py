"""Shapes of the audit trail on the wire."""

from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.audit import ACT
from core.wire import Page, Time, page_of

# Of a kind and an id as entries name them; ids are letters and digits, and versions of texts.
SUBJECT: Final = r"^[a-z_]{1,40}:[\w.:-]{1,100}$"
ACTOR: Final = r"^\w{1,64}$"


class Moment(fields.AwareDateTime):
    """RFC 3339 with an offset, read as UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            moment: datetime = super()._deserialize(value, attr, data, **kwargs)
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=value, obj_type="datetime") from error


def moment(**kwargs: Any) -> Moment:
    """A moment in a query."""
    said: dict[str, Any] = {"invalid": "须为带时区的时间（RFC 3339）", "invalid_awareness": "须带时区"}
    return Moment(format="iso", error_messages=said, **kwargs)


class AuditQuery(Page):
    """Query of GET /audit; `from` is included, `to` is not."""

    actor = fields.Str(load_default=None, validate=validate.Regexp(ACTOR))
    act = fields.Str(load_default=None, validate=validate.Regexp(f"^{ACT.pattern}$"))
    subject = fields.Str(load_default=None, validate=validate.Regexp(SUBJECT))
    since = moment(load_default=None, data_key="from")
    until = moment(load_default=None, data_key="to")


class ExportQuery(Schema):
    """Query of GET /audit/export; `from` is included, `to` is not."""

    since = moment(required=True, data_key="from")
    until = moment(required=True, data_key="to")

    @validates_schema
    def _in_order(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if loaded["since"] >= loaded["until"]:
            raise ValidationError("须晚于开始时间", "to")


class AuditEntryView(Schema):
    """One entry; `block` is null until it is sealed."""

    id = fields.Str(required=True, attribute="_id")
    at = Time(required=True)
    actor = fields.Str(required=True)
    role = fields.Str(required=True)
    act = fields.Str(required=True)
    subject = fields.Str(required=True, allow_none=True)
    frm = fields.Str(required=True, allow_none=True, data_key="from")
    to = fields.Str(required=True, allow_none=True)
    reason = fields.Str(required=True, allow_none=True)
    request = fields.Str(required=True, allow_none=True)
    address = fields.Str(required=True, allow_none=True)
    retain_until = Time(required=True)
    block = fields.Function(
        lambda entry: entry["block"] or None, metadata={"type": ["integer", "null"], "description": "its number"}
    )


class ChainQuery(Schema):
    """Query of GET /audit/chain: up to `limit` blocks above `after`."""

    after = fields.Int(load_default=0, validate=validate.Range(0, 2**53))
    limit = fields.Int(load_default=20, validate=validate.Range(1, 50))


class HeadView(Schema):
    """The last block that is sealed; note its hash elsewhere, and nobody can rewrite the chain unseen."""

    number = fields.Int(required=True)
    hash = fields.Str(required=True)


class FindingView(Schema):
    """One thing that is not as it was sealed."""

    kind = fields.Str(required=True)
    title = fields.Str(required=True)
    block = fields.Int(required=True, allow_none=True)
    entry = fields.Str(required=True, allow_none=True)


class UnsealedView(Schema):
    """What waits to be sealed; acts that are not copied into the trail yet count for the age."""

    count = fields.Int(required=True)
    oldest_at = Time(required=True, allow_none=True)
    age_seconds = fields.Float(required=True)


class ChainView(Schema):
    """A stretch of the chain checked; `next_after` continues it, null at its end."""

    head = fields.Nested(HeadView, required=True)
    checked = fields.Int(required=True)
    findings = fields.List(fields.Nested(FindingView), required=True)
    unsealed = fields.Nested(UnsealedView, required=True)
    next_after = fields.Int(required=True, allow_none=True)


ENTRIES = page_of(AuditEntryView)
