"""Shapes of ratings on the wire."""

from marshmallow import Schema, fields, validate

from core.visits.schemas import DoctorBrief
from core.wire import Text, Time


class GiveRating(Schema):
    """Body of POST /visits/{id}/rating."""

    stars = fields.Int(required=True, strict=True, validate=validate.Range(1, 5))
    text = Text(load_default="", validate=validate.Length(0, 500))


class RatedVisit(Schema):
    """The visit that was rated."""

    id = fields.Str(required=True)
    kind = fields.Str(required=True)
    status = fields.Str(required=True)
    submitted_at = Time(allow_none=True)
    ended_at = Time(allow_none=True)


class OwnRating(Schema):
    """One of the caller's ratings."""

    id = fields.Str(attribute="_id", required=True)
    doctor = fields.Nested(DoctorBrief, required=True)
    visit = fields.Nested(RatedVisit, required=True)
    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)


class RatingView(Schema):
    """The rating of one visit."""

    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)
