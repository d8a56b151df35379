"""Shapes of ratings on the wire."""

from marshmallow import Schema, fields, validate

from core.wire import Text, Time


class GiveRating(Schema):
    """Body of POST /visits/{id}/rating."""

    stars = fields.Int(required=True, strict=True, validate=validate.Range(1, 5))
    text = Text(load_default="", validate=validate.Length(0, 500))


class RatingView(Schema):
    """The rating of one visit."""

    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)
