"""Shapes of the back office on the wire."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.wire import Time, page_of, text


class ConsultTypeForm(Schema):
    """Body of POST /admin/consult-types; without `order` it comes last."""

    name = text(1, 20, required=True)
    description = text(0, 200, load_default="")
    order = fields.Int(strict=True, load_default=None, validate=validate.Range(0, 9_999))
    enabled = fields.Bool(load_default=True)


class ConsultTypeChange(Schema):
    """Body of PATCH /admin/consult-types/{id}; with `version`, only if the type is still at that version."""

    name = text(1, 20)
    description = text(0, 200)
    order = fields.Int(strict=True, validate=validate.Range(0, 9_999))
    enabled = fields.Bool()
    version = fields.Int(strict=True, validate=validate.Range(1))

    @validates_schema
    def _says_something(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if not set(loaded) - {"version"}:
            raise ValidationError("没有要修改的内容", "name")


class ConsultTypeStep(Schema):
    """One line of a history: who changed what, from what to what."""

    at = Time(required=True)
    actor = fields.Str(required=True)
    role = fields.Str(required=True)
    act = fields.Str(required=True)
    frm = fields.Str(required=True, data_key="from", allow_none=True)
    to = fields.Str(required=True, allow_none=True)


class ConsultTypeAdminView(Schema):
    """A consultation type as the office sees it."""

    id = fields.Str(required=True, attribute="_id")
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    order = fields.Int(required=True)
    enabled = fields.Bool(required=True)
    version = fields.Int(required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)
    history = fields.List(fields.Nested(ConsultTypeStep), required=True)


CONSULT_TYPES = page_of(ConsultTypeAdminView)
