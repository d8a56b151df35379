"""Shapes of the desk on the wire. Amounts in fen, days China's."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from core.directory.rules import SERVICES
from core.directory.schemas import AverageView, DepartmentBrief, LicenceView, TitleView
from core.orders.schemas import STATUSES, RefundView
from core.visits.schemas import VisitItem
from core.wire import Day, Page, Text, Time, page_of, text

# No hospital on the internet is older, and no day behind the last is asked for by a person.
FIRST_DAY, LAST_DAY = "2000-01-01", "2100-12-31"


def _known_day(day: str) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValidationError(f"须在 {FIRST_DAY} 到 {LAST_DAY} 之间")


def _day(name: str, meaning: str) -> Day:
    return Day(data_key=name, load_default=None, validate=_known_day, metadata={"description": meaning})


def _distinct(items: list[Any]) -> None:
    if len(set(items)) != len(items):
        raise ValidationError("不能重复")


# --- groups and patients --------------------------------------------------------------------------


class GroupForm(Schema):
    """Body of POST /desk/groups and PATCH /desk/groups/{id}."""

    name = text(1, 20, required=True)


class GroupBrief(Schema):
    """A group by its name."""

    id = fields.Str(attribute="_id", required=True)
    name = fields.Str(required=True)


class GroupView(GroupBrief):
    """A group, and how many patients are in it."""

    patients = fields.Function(lambda group: len(group["patients"]), required=True, metadata={"type": "integer"})
    created_at = Time(required=True)


class PatientQuery(Page):
    """Query of GET /desk/patients."""

    cursor = fields.Str(
        load_default=None, validate=validate.Length(1, 64), metadata={"description": "`next_cursor` of the last page"}
    )
    group = fields.Str(load_default=None, validate=validate.Length(1, 64), metadata={"description": "id of a group"})
    q = text(1, 50, load_default=None, metadata={"description": "part of the name"})


class LastVisit(Schema):
    """The newest visit with this doctor."""

    id = fields.Str(required=True)
    submitted_at = Time(required=True)


class PatientLine(Schema):
    """Somebody who has consulted this doctor; the name is masked (R6-5)."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    gender = fields.Str(required=True)
    age = fields.Int(required=True)
    visits = fields.Int(required=True, metadata={"description": "with this doctor"})
    last_visit = fields.Nested(LastVisit, required=True)
    groups = fields.List(fields.Nested(GroupBrief), required=True)


class VisitHistory(Schema):
    """A page of visits."""

    items = fields.List(fields.Nested(VisitItem), required=True)
    next_cursor = fields.Str(required=True, allow_none=True)


class PatientRecord(PatientLine):
    """With the name in full, and the visits with this doctor, newest first."""

    birth_date = fields.Str(required=True, metadata={"format": "date"})
    history = fields.Nested(VisitHistory, required=True)


# --- orders and income ----------------------------------------------------------------------------


class DeskOrderQuery(Page):
    """Query of GET /desk/orders: made on these days, both included."""

    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))
    first = _day("from", "first day")
    last = _day("to", "last day")


class DeskOrder(Schema):
    """A consultation fee as the doctor sees it: the patient is a masked name, an unpaid order names no visit."""

    id = fields.Str(attribute="_id", required=True)
    status = fields.Str(required=True, validate=validate.OneOf(STATUSES))
    visit = fields.Str(required=True, allow_none=True)
    patient = fields.Str(required=True)
    description = fields.Str(required=True)
    amount = fields.Int(required=True, metadata={"description": "fen"})
    paid_at = Time(allow_none=True)
    refund = fields.Nested(RefundView, allow_none=True)
    created_at = Time(required=True)


class IncomeQuery(Schema):
    """Query of GET /desk/income."""

    by = fields.Str(load_default="day", validate=validate.OneOf(["day", "month"]))
    first = _day("from", "first day; 30 days or twelve months in all where not given")
    last = _day("to", "last day; today where not given")


class Figures(Schema):
    """Consultation fees only (R2-7), fen; `net` is what was paid less what was given back."""

    paid = fields.Int(required=True)
    paid_count = fields.Int(required=True)
    refunded = fields.Int(required=True)
    refunded_count = fields.Int(required=True)
    net = fields.Int(required=True)


class PeriodFigures(Figures):
    """The figures of one day (`YYYY-MM-DD`) or month (`YYYY-MM`)."""

    period = fields.Str(required=True)


class IncomeView(Schema):
    """Every period of the days asked for in the calendar's order, and all of them together."""

    by = fields.Str(required=True)
    first = fields.Str(data_key="from", required=True, metadata={"format": "date"})
    last = fields.Str(data_key="to", required=True, metadata={"format": "date"})
    items = fields.List(fields.Nested(PeriodFigures), required=True)
    total = fields.Nested(Figures, required=True)


# --- the doctor's own page, ratings, quick replies ------------------------------------------------


class ProfileForm(Schema):
    """Body of PATCH /desk/profile: what is given is changed; with `version`, only if the page is still at it."""

    version = fields.Int(strict=True, validate=validate.Range(1))
    introduction = text(0, 1_000)
    skills = fields.List(text(1, 20), validate=[validate.Length(0, 10), _distinct])
    photo = fields.Str(
        allow_none=True, validate=validate.Length(1, 64), metadata={"description": "own image; null: no photo"}
    )
    fees = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(SERVICES)),
        values=fields.Int(strict=True),
        metadata={"description": "fen by service; services not named keep theirs"},
    )
    services = fields.List(
        fields.Str(validate=validate.OneOf(SERVICES)),
        validate=_distinct,
        metadata={"description": "those that are on; must be granted by the hospital"},
    )


class FeeBounds(Schema):
    """The hospital's bounds of a fee, both included, fen."""

    low = fields.Int(required=True)
    high = fields.Int(required=True)


class ProfileView(Schema):
    """The doctor's page as the doctor edits it. Name, title, department and licence are the hospital's to change."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    title = fields.Nested(TitleView, required=True)
    department = fields.Nested(DepartmentBrief, required=True, allow_none=True)
    introduction = fields.Str(required=True)
    skills = fields.List(fields.Str(), required=True)
    photo = fields.Str(required=True, allow_none=True, metadata={"description": "medium"})
    photo_url = fields.Str(required=True, allow_none=True, metadata={"description": "where everybody sees it"})
    fees = fields.Dict(keys=fields.Str(), values=fields.Int(), required=True)
    fee_bounds = fields.Nested(FeeBounds, required=True)
    services = fields.List(fields.Str(), required=True, metadata={"description": "on"})
    granted = fields.List(fields.Str(), required=True, metadata={"description": "allowed by the hospital"})
    offered = fields.List(fields.Str(), required=True, metadata={"description": "what patients can ask for today"})
    online = fields.Bool(required=True)
    rating = fields.Nested(AverageView, required=True)
    licence = fields.Nested(LicenceView, required=True)
    version = fields.Int(required=True)


class OpinionView(Schema):
    """One rating; the author's name is masked."""

    id = fields.Str(attribute="_id", required=True)
    visit = fields.Str(attribute="visit_id", required=True)
    author = fields.Str(required=True)
    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)


class OpinionsView(AverageView):
    """A page of ratings, newest first; average and distribution are over all."""

    distribution = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(["1", "2", "3", "4", "5"])),
        values=fields.Int(),
        required=True,
        metadata={"description": "how many gave each number of stars"},
    )
    items = fields.List(fields.Nested(OpinionView), required=True)
    next_cursor = fields.Str(required=True, allow_none=True)


class QuickRepliesForm(Schema):
    """Body of PUT /desk/quick-replies: all of them in their order, by who has seen `version`."""

    version = fields.Int(required=True, strict=True, validate=validate.Range(0))
    replies = fields.List(Text(validate=validate.Length(1, 200)), required=True, validate=_distinct)


class QuickRepliesView(Schema):
    """The doctor's sentences in their order; version 0 while there have never been any."""

    version = fields.Int(required=True)
    replies = fields.List(fields.Str(), required=True)


GROUPS = page_of(GroupView)
PATIENTS = page_of(PatientLine)
ORDERS = page_of(DeskOrder)
