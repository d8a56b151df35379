"""Shapes of staff accounts in the back office."""

from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.accounts import rules
from core.accounts.schemas import phone_number
from core.auth import STAFF_ROLES
from core.backoffice.schemas import ChangeStep, DoctorPage
from core.wire import Page, Text, Time, page_of, text

ROLES: Final = tuple(sorted(STAFF_ROLES))
STATUSES: Final = ("active", "disabled")


def first_password() -> fields.Str:
    """One that the office thought up; without it one is made."""
    return fields.Str(load_default=None, validate=validate.Length(8, 128))


class StaffQuery(Page):
    """Query of GET /admin/staff."""

    role = fields.Str(load_default=None, validate=validate.OneOf(ROLES))
    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))


class StaffForm(Schema):
    """Body of POST /admin/staff; `doctor` makes the doctor's page with the account."""

    account = Text(required=True, validate=validate.Regexp(rules.LOGIN_FORM, error=rules.LOGIN_RULE))
    role = fields.Str(required=True, validate=validate.OneOf(ROLES))
    name = text(1, 32, required=True)
    phone = phone_number(required=True)
    department_id = text(1, 64, load_default=None)
    password = first_password()
    doctor = fields.Nested(DoctorPage, load_default=None)


class StaffChange(Schema):
    """Body of PATCH /admin/staff/{id}."""

    name = text(1, 32)
    phone = phone_number()
    department_id = text(1, 64, allow_none=True)
    status = fields.Str(validate=validate.OneOf(STATUSES))
    role = fields.Str(validate=validate.OneOf(ROLES))

    @validates_schema
    def _says_something(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if not loaded:
            raise ValidationError("没有要修改的内容", "name")


class StaffView(Schema):
    """A staff account; `phone` is masked, `second_factor` says whether an authenticator is bound."""

    id = fields.Str(required=True)
    account = fields.Str(required=True, allow_none=True)
    role = fields.Str(required=True, validate=validate.OneOf(ROLES))
    name = fields.Str(required=True)
    phone = fields.Str(required=True, metadata={"example": "138****1111"})
    department_id = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, validate=validate.OneOf(STATUSES))
    second_factor = fields.Bool(required=True)
    password_change_due = fields.Bool(required=True)
    locked_until = Time(required=True, allow_none=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)


class StaffDetail(StaffView):
    """A staff account with what the office did to it."""

    history = fields.List(fields.Nested(ChangeStep), required=True)


class NewStaffView(StaffView):
    """A new account; `initial_password` is told this once, null when the office gave one."""

    initial_password = fields.Str(required=True, allow_none=True)


class ResetPassword(Schema):
    """Body of POST /admin/staff/{id}/password-reset."""

    password = first_password()


class InitialPasswordView(Schema):
    """Told this once; null when the office gave one."""

    initial_password = fields.Str(required=True, allow_none=True)


STAFF: Final = page_of(StaffView)
