"""Shapes of the back office on the wire."""

from datetime import UTC
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.directory.rules import BARS, CONSENT_NAMES, SERVICES
from core.wire import Day, Page, Time, page_of, text


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


class ChangeStep(Schema):
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
    history = fields.List(fields.Nested(ChangeStep), required=True)


class DepartmentForm(Schema):
    """Body of POST /admin/departments; `code` is official (医疗机构诊疗科目名录), without `order` it comes last."""

    code = text(2, 8, required=True)
    name = text(1, 30, required=True)
    introduction = text(0, 2_000, load_default="")
    order = fields.Int(strict=True, load_default=None, validate=validate.Range(0, 9_999))


class DepartmentChange(Schema):
    """Body of PATCH /admin/departments/{id}; with `version`, only if the department is still at that version."""

    code = text(2, 8)
    name = text(1, 30)
    introduction = text(0, 2_000)
    order = fields.Int(strict=True, validate=validate.Range(0, 9_999))
    version = fields.Int(strict=True, validate=validate.Range(1))

    @validates_schema
    def _says_something(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if not set(loaded) - {"version"}:
            raise ValidationError("没有要修改的内容", "name")


class DepartmentAdminView(Schema):
    """A department as the office sees it."""

    id = fields.Str(required=True, attribute="_id")
    code = fields.Str(required=True)
    name = fields.Str(required=True)
    introduction = fields.Str(required=True)
    order = fields.Int(required=True)
    version = fields.Int(dump_default=1)
    created_at = Time(required=True)
    updated_at = Time(required=True)
    history = fields.List(fields.Nested(ChangeStep), dump_default=[])


def _services(**kwargs: Any) -> fields.List[Any]:
    unique = validate.And(validate.Length(0, len(SERVICES)), _no_repeats)
    return fields.List(fields.Str(validate=validate.OneOf(SERVICES)), validate=unique, **kwargs)


def _fees(**kwargs: Any) -> fields.Dict:
    fee = fields.Int(strict=True, validate=validate.Range(0, 1_000_000))
    return fields.Dict(keys=fields.Str(validate=validate.OneOf(SERVICES)), values=fee, **kwargs)


def _no_repeats(given: list[Any]) -> None:
    if len(set(given)) != len(given):
        raise ValidationError("不能重复")


class DoctorPage(Schema):
    """What the office says of a doctor: licence (R2-5, R2-8), filing (R2-2), services granted, fees in fen."""

    department_id = text(1, 64, required=True)
    gender = fields.Str(required=True, validate=validate.OneOf(("1", "2")))
    title = text(1, 8, required=True)
    skills = fields.List(text(1, 30), load_default=list, validate=validate.Length(0, 20))
    introduction = text(0, 2_000, load_default="")
    qualification_number = text(1, 40, required=True)
    licence_number = text(1, 40, required=True)
    licence_valid_to = Day(required=True)
    practice_start = Day(required=True)
    practice_scope = fields.List(text(2, 8), required=True, validate=validate.Length(1, 10))
    institution = text(1, 60, required=True)
    main_institution = fields.Bool(required=True)
    multi_site_filed = fields.Bool(load_default=False)
    consent_document = text(1, 100, load_default=None, allow_none=True)
    services = _services(load_default=list)
    fees = _fees(load_default=dict)


class NewDoctorPage(DoctorPage):
    """Body of POST /admin/doctors: the page of a doctor's account that has none yet."""

    account_id = text(1, 64, required=True)


class DoctorChange(Schema):
    """Body of PATCH /admin/doctors/{id}; with `version`, only if the page is still at that version."""

    department_id = text(1, 64)
    gender = fields.Str(validate=validate.OneOf(("1", "2")))
    title = text(1, 8)
    skills = fields.List(text(1, 30), validate=validate.Length(0, 20))
    introduction = text(0, 2_000)
    qualification_number = text(1, 40)
    licence_number = text(1, 40)
    licence_valid_to = Day()
    practice_start = Day()
    practice_scope = fields.List(text(2, 8), validate=validate.Length(1, 10))
    institution = text(1, 60)
    main_institution = fields.Bool()
    multi_site_filed = fields.Bool()
    consent_document = text(1, 100, allow_none=True)
    services = _services()
    fees = _fees()
    version = fields.Int(strict=True, validate=validate.Range(1))

    @validates_schema
    def _says_something(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if not set(loaded) - {"version"}:
            raise ValidationError("没有要修改的内容", "services")


class DoctorsQuery(Schema):
    """Query of GET /admin/doctors."""

    offered = fields.Bool(load_default=None, metadata={"description": "only those patients may (or may not) ask today"})


class BarView(Schema):
    """Why patients may ask this doctor for nothing today."""

    code = fields.Str(required=True, validate=validate.OneOf(tuple(BARS)))
    reason = fields.Str(required=True)


class DoctorAdminView(Schema):
    """A doctor as the office sees them: nothing is masked, and what bars them from being offered is said."""

    id = fields.Str(required=True, attribute="_id")
    name = fields.Str(required=True)
    gender = fields.Str(required=True)
    title = fields.Str(required=True)
    department_id = fields.Str(required=True)
    skills = fields.List(fields.Str(), required=True)
    introduction = fields.Str(required=True)
    qualification_number = fields.Str(required=True)
    licence_number = fields.Str(required=True)
    licence_valid_to = fields.Str(required=True, metadata={"format": "date"})
    practice_start = fields.Str(required=True, metadata={"format": "date"})
    practice_scope = fields.List(fields.Str(), required=True)
    institution = fields.Str(required=True)
    main_institution = fields.Bool(required=True)
    multi_site_filed = fields.Bool(required=True)
    consent_document = fields.Str(required=True, allow_none=True)
    services = fields.List(fields.Str(), required=True)
    fees = fields.Dict(keys=fields.Str(), values=fields.Int(), required=True)
    online = fields.Bool(required=True)
    bars = fields.List(fields.Nested(BarView), required=True)
    version = fields.Int(required=True)
    updated_at = Time(required=True)


class DoctorDetail(DoctorAdminView):
    """A doctor with what the office changed."""

    history = fields.List(fields.Nested(ChangeStep), dump_default=[])


class ConsentTextsQuery(Schema):
    """Query of GET /admin/consent-texts."""

    kind = fields.Str(load_default=None, validate=validate.OneOf(tuple(CONSENT_NAMES)))


class ConsentTextForm(Schema):
    """Body of POST /admin/consent-texts; without `effective_from` in force at once."""

    kind = fields.Str(required=True, validate=validate.OneOf(tuple(CONSENT_NAMES)))
    version = fields.Str(
        required=True, validate=validate.Regexp(r"^[0-9A-Za-z][0-9A-Za-z._-]{0,39}$", error="须为字母、数字、点、横线")
    )
    title = text(1, 60, required=True)
    body = text(1, 100_000, required=True)
    effective_from = fields.AwareDateTime(load_default=None, format="iso", default_timezone=UTC)


class ConsentTextAdminView(Schema):
    """A version of a text; `hash` is the SHA-256 of `body` in UTF-8, hexadecimal."""

    kind = fields.Str(required=True)
    version = fields.Str(required=True)
    title = fields.Str(required=True)
    body = fields.Str(required=True)
    hash = fields.Str(required=True)
    effective_at = Time(required=True)
    created_at = Time(required=True)
    created_by = fields.Str(required=True)
    in_force = fields.Bool()


class SettingView(Schema):
    """One of the hospital's numbers; `environment` is what holds when the office takes its own back."""

    name = fields.Str(required=True)
    title = fields.Str(required=True)
    value = fields.Int(required=True)
    default = fields.Int(required=True)
    environment = fields.Int(required=True)
    low = fields.Int(required=True)
    high = fields.Int(required=True)
    meaning = fields.Str(required=True)
    rule = fields.Str(required=True, allow_none=True, metadata={"description": "the legal rule that bounds it"})
    settable = fields.Bool(required=True, metadata={"description": "false: by the environment only, at a start"})
    source = fields.Str(required=True, validate=validate.OneOf(("default", "environment", "office")))


class SettingsChangeForm(Schema):
    """Body of PATCH /admin/settings: `{"values": {name: number, or null to take the office's own back}}`."""

    values = fields.Dict(
        keys=fields.Str(validate=validate.Length(1, 64)),
        values=fields.Int(strict=True, allow_none=True),
        required=True,
        validate=validate.Length(1, 100),
    )


class SettingStep(Schema):
    """From what to what; null is what the environment or the product says."""

    name = fields.Str(required=True)
    frm = fields.Int(required=True, data_key="from", allow_none=True)
    to = fields.Int(required=True, allow_none=True)


class SettingsHistoryView(Schema):
    """One change: all of its numbers took effect together."""

    id = fields.Str(required=True, attribute="_id")
    at = Time(required=True)
    actor = fields.Str(required=True)
    role = fields.Str(required=True)
    steps = fields.List(fields.Nested(SettingStep), required=True)


class NumberedPage(Page):
    """Query of a list whose ids are numbers."""

    cursor = fields.Str(
        load_default=None,
        validate=validate.Regexp(r"^[0-9]{1,9}$"),
        metadata={"description": "`next_cursor` of the last page"},
    )


DEPARTMENTS = page_of(DepartmentAdminView)
DOCTORS = page_of(DoctorAdminView)
CONSENT_TEXTS = page_of(ConsentTextAdminView)
SETTINGS = page_of(SettingView)
SETTINGS_HISTORY = page_of(SettingsHistoryView)
CONSULT_TYPES = page_of(ConsultTypeAdminView)
