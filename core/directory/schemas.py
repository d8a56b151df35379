"""Shapes of the open catalogue on the wire."""

from marshmallow import Schema, fields, validate

from core.directory.rules import SERVICES
from core.wire import Page, Time, page_of, text


class HospitalView(Schema):
    """The hospital with its licence and where to complain (R2-5)."""

    name = fields.Str(required=True)
    main_institution = fields.Str(required=True)
    level = fields.Str(required=True)
    ownership = fields.Str(required=True)
    credit_code = fields.Str(required=True)
    licence_number = fields.Str(required=True)
    licence_valid_to = fields.Str(required=True, metadata={"format": "date"})
    security_filing_number = fields.Str(required=True)
    address = fields.Str(required=True)
    phone = fields.Str(required=True)
    complaint_phone = fields.Str(required=True)
    service_hours = fields.Str(required=True)
    introduction = fields.Str(required=True)


class DepartmentBrief(Schema):
    """A department; `code` is the official subject code (医疗机构诊疗科目名录)."""

    id = fields.Str(required=True)
    code = fields.Str(required=True, metadata={"example": "03.04"})
    name = fields.Str(required=True)


class DepartmentView(DepartmentBrief):
    """A department, and how many of its doctors can be asked today."""

    introduction = fields.Str(required=True)
    doctors = fields.Int(required=True)


class TitleView(Schema):
    """A professional title; `code` of GB/T 8561."""

    code = fields.Str(required=True, metadata={"example": "231"})
    name = fields.Str(required=True)


class AverageView(Schema):
    """Mean of all stars to one decimal, null while nobody has rated."""

    average = fields.Float(required=True, allow_none=True)
    count = fields.Int(required=True)


class LicenceView(Schema):
    """The doctor's licence to practise (R2-5); the number is masked."""

    number = fields.Str(required=True)
    scope = fields.List(fields.Str(), required=True)
    institution = fields.Str(required=True)
    valid = fields.Bool(required=True)
    valid_to = fields.Str(required=True, metadata={"format": "date"})


class DoctorView(Schema):
    """A doctor; `fees` in fen by service, shown before anything is paid (R6-8)."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    title = fields.Nested(TitleView, required=True)
    department = fields.Nested(DepartmentBrief, required=True, allow_none=True)
    skills = fields.List(fields.Str(), required=True)
    introduction = fields.Str(required=True)
    photo = fields.Str(required=True, allow_none=True, metadata={"description": "address of the image, for anybody"})
    services = fields.List(fields.Str(validate=validate.OneOf(SERVICES)), required=True)
    fees = fields.Dict(keys=fields.Str(validate=validate.OneOf(SERVICES)), values=fields.Int(), required=True)
    online = fields.Bool(required=True)
    rating = fields.Nested(AverageView, required=True)
    licence = fields.Nested(LicenceView, required=True)


class DoctorQuery(Page):
    """Query of GET /doctors. Best matches first; every word of `q` must be found."""

    cursor = fields.Str(
        load_default=None, validate=validate.Length(1, 200), metadata={"description": "`next_cursor` of the last page"}
    )
    department = fields.Str(
        load_default=None,
        validate=validate.Length(0, 64),
        metadata={"description": "id, subject code, or the beginning of one (03 finds 03.04)"},
    )
    q = text(
        0, 50, load_default="", metadata={"description": "name or its pinyin, skill, title, department, introduction"}
    )
    service = fields.Str(load_default=None, validate=validate.OneOf(SERVICES))
    online = fields.Bool(load_default=None, metadata={"description": "only those who are (or are not) online now"})


class PublishedRating(Schema):
    """What a patient said; the name is masked (R6-5)."""

    author = fields.Str(required=True, metadata={"example": "张*"})
    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)


class DoctorRatings(Schema):
    """A page of ratings, newest first, with the doctor's average over all of them."""

    items = fields.List(fields.Nested(PublishedRating), required=True)
    next_cursor = fields.Str(required=True, allow_none=True)
    average = fields.Float(required=True, allow_none=True)
    count = fields.Int(required=True)


class ConsultTypeView(Schema):
    """A kind of question."""

    id = fields.Str(required=True, attribute="_id")
    name = fields.Str(required=True)
    description = fields.Str(required=True)


class ConsentTextQuery(Schema):
    """Query of GET /consent-texts/{kind}."""

    version = fields.Str(load_default=None, validate=validate.Length(1, 40), metadata={"description": "else in force"})


class ConsentTextView(Schema):
    """A text patients agree to (markdown); `hash` is the SHA-256 of `body` in UTF-8, hexadecimal."""

    kind = fields.Str(required=True)
    version = fields.Str(required=True)
    title = fields.Str(required=True)
    body = fields.Str(required=True)
    hash = fields.Str(required=True)
    effective_at = Time(required=True)


class DivisionQuery(Schema):
    """Query of GET /divisions."""

    parent = fields.Str(
        load_default="",
        validate=validate.Regexp(r"^(\d{6})?$", error="须为 6 位行政区划代码"),
        metadata={"description": "empty: provinces"},
    )


class DivisionView(Schema):
    """An administrative division (GB/T 2260); a `leaf` has none below it."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)
    parent = fields.Str(required=True)
    leaf = fields.Bool(required=True)


class EmojiView(Schema):
    """What a chat message of kind `emoji` may name by `code`."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)
    char = fields.Str(required=True)


DEPARTMENTS = page_of(DepartmentView)
DOCTORS = page_of(DoctorView)
CONSULT_TYPES = page_of(ConsultTypeView)
DIVISIONS = page_of(DivisionView)
EMOJI = page_of(EmojiView)
