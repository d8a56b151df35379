"""Shapes of visits on the wire."""

from typing import get_args

from marshmallow import Schema, fields, validate

from core.orders.schemas import OrderView, StepView
from core.visits.rules import TERMINATION_REASONS
from core.wire import Page, Time, text
from storage.visits import Status, VisitKind

KINDS = get_args(VisitKind)
STATUSES = get_args(Status)


class Condition(Schema):
    """The illness in the patient's words (P1.4)."""

    description = text(1, 2_000, required=True)
    duration = text(0, 100, load_default="")
    history = text(0, 2_000, load_default="")
    allergies = text(0, 500, load_default="")


class GivenConsent(Schema):
    """A text the patient ticked; the version must be the one in force."""

    kind = fields.Str(required=True, validate=validate.Length(1, 40))
    version = fields.Str(required=True, validate=validate.Length(1, 40))


class SubmitVisit(Schema):
    """Body of POST /visits."""

    kind = fields.Str(required=True, validate=validate.OneOf(["consult"]))
    doctor_id = fields.Str(required=True, validate=validate.Length(1, 64))
    patient_id = fields.Str(required=True, validate=validate.Length(1, 64))
    consult_type_id = fields.Str(required=True, validate=validate.Length(1, 64))
    condition = fields.Nested(Condition, required=True)
    attachments = fields.List(fields.Str(validate=validate.Length(1, 64)), load_default=list)
    consents = fields.List(fields.Nested(GivenConsent), required=True, validate=validate.Length(1, 20))


class Reason(Schema):
    """A reason the other side reads."""

    reason = text(1, 200, required=True)


class Terminate(Schema):
    """Body of POST /visits/{id}/terminate."""

    reason = fields.Str(required=True, validate=validate.OneOf(TERMINATION_REASONS))
    advice = text(1, 500, required=True)
    refund = fields.Bool(load_default=False)


class VisitQuery(Page):
    """Query of GET /visits; `status` may be several, joined by commas."""

    kind = fields.Str(load_default=None, validate=validate.OneOf(KINDS))
    status = fields.Str(
        load_default=None,
        validate=validate.Regexp(f"^({'|'.join(STATUSES)})(,({'|'.join(STATUSES)}))*$"),
        metadata={"description": "one or several of the visit states, joined by commas"},
    )
    patient_id = fields.Str(load_default=None, validate=validate.Length(1, 64))
    q = text(1, 50, load_default=None, metadata={"description": "part of the patient's name or the illness"})


class DoctorBrief(Schema):
    """The doctor of a visit."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    department_id = fields.Str(required=True)


class PatientBrief(Schema):
    """The patient of a visit; the name is masked in lists (R6-5)."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    gender = fields.Str(required=True)
    age = fields.Int(required=True)
    relation = fields.Str(required=True)


class Guardian(Schema):
    """Who answers for a child under 14 (R3-3)."""

    name = fields.Str(required=True)
    relation = fields.Str(required=True)


class PatientDetail(PatientBrief):
    """With birth date and guardian, for the two who take part."""

    birth_date = fields.Str(required=True)
    guardian = fields.Nested(Guardian, allow_none=True)


class ConsultTypeBrief(Schema):
    """The consultation type as it was called when the visit was submitted."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)


class Attachment(Schema):
    """An image of the illness; bytes are at /media/{id}."""

    id = fields.Str(required=True)
    kind = fields.Str(required=True)
    mime = fields.Str(required=True)
    size = fields.Int(required=True)
    width = fields.Int(allow_none=True)
    height = fields.Int(allow_none=True)


class AgreedConsent(Schema):
    """A consent as it was given (R3-1)."""

    kind = fields.Str(required=True)
    version = fields.Str(required=True)
    hash = fields.Str(required=True)
    at = Time(required=True)


class RatingBrief(Schema):
    """Stars and text."""

    stars = fields.Int(required=True)
    text = fields.Str(required=True)
    at = Time(required=True)


class VisitItem(Schema):
    """A visit in a list."""

    id = fields.Str(required=True)
    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    status = fields.Str(required=True, validate=validate.OneOf(STATUSES))
    doctor = fields.Nested(DoctorBrief, required=True)
    patient = fields.Nested(PatientBrief, required=True)
    consult_type = fields.Nested(ConsultTypeBrief, required=True)
    summary = fields.Str(required=True, metadata={"description": "the first words of the illness"})
    fee = fields.Int(required=True, metadata={"description": "fen"})
    created_at = Time(required=True)
    accepted_at = Time(allow_none=True)
    ended_at = Time(allow_none=True)
    deadline_at = Time(allow_none=True)


class VisitDetail(VisitItem):
    """A visit for the two who take part: illness, attachments, consents, order, every change of state."""

    patient = fields.Nested(PatientDetail, required=True)
    condition = fields.Nested(Condition, required=True)
    attachments = fields.List(fields.Nested(Attachment), required=True)
    consents = fields.List(fields.Nested(AgreedConsent), required=True)
    reason = fields.Str(allow_none=True)
    advice = fields.Str(allow_none=True)
    rating = fields.Nested(RatingBrief, allow_none=True)
    order = fields.Nested(OrderView, allow_none=True)
    conversation = fields.Str(required=True)
    last_seq = fields.Int(required=True, metadata={"description": "of the conversation; 0 when nobody has spoken"})
    history = fields.List(fields.Nested(StepView), required=True)


class NurseVisit(Schema):
    """What a nurse of the department reads: the list and the illness, nothing else."""

    id = fields.Str(required=True)
    status = fields.Str(required=True)
    doctor = fields.Nested(DoctorBrief, required=True)
    patient = fields.Nested(PatientBrief, required=True)
    condition = fields.Nested(Condition, required=True)
    created_at = Time(required=True)


class DeskSummary(Schema):
    """The doctor's home: how many visits stand where (D2.1)."""

    waiting = fields.Int(required=True)
    accepted = fields.Int(required=True, metadata={"description": "in progress now"})
    ended = fields.Int(required=True)
    all = fields.Int(required=True, metadata={"description": "all that were ever submitted and paid"})
    online = fields.Bool(required=True)


class Duty(Schema):
    """Whether the doctor takes visits now."""

    online = fields.Bool(required=True)
