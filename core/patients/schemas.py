"""Shapes of patients on the wire. What goes out is masked by the schema that shows it (R6-5)."""

from collections.abc import Callable
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.compliance import mask_name, mask_number, mask_phone
from core.patients.rules import GENDERS, GUARDIAN_RELATIONS, ID_TYPES, RELATIONS
from core.wire import Day, Text, Time, page_of, text

PHONE_FORM: Final = r"^1[3-9][0-9]{9}$"
VERIFICATION_STATES: Final = ("unverified", "verified", "failed", "manual_review")


class Masked(fields.Str):
    """A text of which only `mask` is shown."""

    def __init__(self, mask: Callable[[str], str], **kwargs: Any) -> None:
        self._mask = mask
        super().__init__(**kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else self._mask(value)


def _one_of(codes: tuple[str, ...], **kwargs: Any) -> fields.Str:
    return fields.Str(validate=validate.OneOf(codes, error="不在可选范围内"), **kwargs)


def _phone(**kwargs: Any) -> fields.Str:
    said = validate.Regexp(PHONE_FORM, error="手机号格式有误")
    return Text(validate=said, metadata={"example": "13800001234"}, **kwargs)


class PatientForm(Schema):
    """Body of POST /patients. `gender` (GB/T 2261.1) and `birth_date` may be left to a resident ID number."""

    name = text(2, 50, required=True)
    id_type = _one_of(ID_TYPES, required=True, metadata={"description": "CV02.01.101, 01 居民身份证"})
    id_number = text(5, 40, required=True)
    gender = _one_of(GENDERS)
    birth_date = Day(metadata={"format": "date"})
    phone = _phone(required=True)
    relation = _one_of(RELATIONS, required=True)

    @validates_schema
    def _is_whole(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        missing = [name for name in ("gender", "birth_date") if name not in loaded]
        if missing and loaded["id_type"] != "01":
            raise ValidationError({name: ["此证件类型需要填写"] for name in missing})


class PatientChange(Schema):
    """Body of PATCH /patients/{id}; with `version`, only if the patient is still at that version."""

    name = text(2, 50)
    id_type = _one_of(ID_TYPES)
    id_number = text(5, 40)
    gender = _one_of(GENDERS)
    birth_date = Day(metadata={"format": "date"})
    phone = _phone()
    relation = _one_of(RELATIONS)
    version = fields.Int(strict=True, validate=validate.Range(1))

    @validates_schema
    def _says_something(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if not set(loaded) - {"version"}:
            raise ValidationError("没有要修改的内容", "name")


class GuardianForm(Schema):
    """Body of PUT /patients/{id}/guardian."""

    name = text(2, 50, required=True)
    id_type = _one_of(ID_TYPES, required=True, metadata={"description": "01 居民身份证"})
    id_number = text(5, 40, required=True)
    phone = _phone(required=True)
    relation = _one_of(GUARDIAN_RELATIONS, required=True)


class VerificationView(Schema):
    """Where the real-name check stands; only `verified` lets a visit be submitted."""

    state = _one_of(VERIFICATION_STATES, required=True)
    at = Time(required=True, allow_none=True)


class GuardianItem(Schema):
    """A child's guardian in a list."""

    name: fields.Str = Masked(mask_name, required=True)
    relation = fields.Str(required=True)
    verification = fields.Nested(VerificationView, required=True)


class GuardianView(GuardianItem):
    """A child's guardian, to the account that entered them."""

    name = fields.Str(required=True)
    id_type = fields.Str(required=True)
    id_number = Masked(mask_number, required=True)
    phone = Masked(mask_phone, required=True)


class PatientItem(Schema):
    """A patient in a list. The birth date is not shown: it is what the mask of the ID number hides."""

    id = fields.Str(required=True)
    name: fields.Str = Masked(mask_name, required=True, metadata={"example": "张*"})
    id_type = fields.Str(required=True)
    id_number = Masked(mask_number, required=True, metadata={"example": "110105********002X"})
    gender = fields.Str(required=True)
    age = fields.Int(required=True)
    phone = Masked(mask_phone, required=True, metadata={"example": "138****1234"})
    relation = fields.Str(required=True)
    verification = fields.Nested(VerificationView, required=True)
    guardian_required = fields.Bool(required=True)
    guardian = fields.Nested(GuardianItem, required=True, allow_none=True)
    version = fields.Int(required=True)
    created_at = Time(required=True)


class PatientView(PatientItem):
    """A patient, to the account that entered them: the name in full, numbers still masked."""

    name = fields.Str(required=True)
    birth_date = fields.Str(required=True, metadata={"format": "date"})
    guardian = fields.Nested(GuardianView, required=True, allow_none=True)


PATIENTS = page_of(PatientItem)
