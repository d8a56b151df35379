from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from core.visits.schemas import NurseVisit, Reason, SubmitVisit, Terminate, VisitDetail, VisitItem, VisitQuery

GIVEN = {
    "kind": "consult",
    "doctor_id": "d",
    "patient_id": "p",
    "consult_type_id": "t",
    "condition": {"description": " 头痛两天 "},
    "consents": [{"kind": "consult_notice", "version": "1"}],
}


def errors(schema, raw):
    """What the schema says is wrong, by field."""
    with pytest.raises(ValidationError) as refused:
        schema.load(raw)
    return refused.value.normalized_messages()


def test_a_submission_is_trimmed_and_completed():
    loaded = SubmitVisit().load(GIVEN)
    assert loaded["condition"] == {"description": "头痛两天", "duration": "", "history": "", "allergies": ""}
    assert loaded["attachments"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "followup"}, "kind"),
        ({"doctor_id": ""}, "doctor_id"),
        ({"patient_id": "x" * 65}, "patient_id"),
        ({"patient_id": {"$ne": None}}, "patient_id"),
        ({"condition": "头痛"}, "condition"),
        ({"condition": {"description": "  "}}, "condition"),
        ({"condition": {"description": "头痛\x00"}}, "condition"),
        ({"condition": {"description": "头痛", "allergies": "x" * 501}}, "condition"),
        ({"attachments": [1]}, "attachments"),
        ({"consents": []}, "consents"),
        ({"consents": [{"kind": "consult_notice"}]}, "consents"),
        ({"consents": [GIVEN["consents"][0]] * 21}, "consents"),
        ({"fee": 0}, "fee"),
    ],
)
def test_a_wrong_field_of_a_submission_is_named(change, field):
    assert list(errors(SubmitVisit(), {**GIVEN, **change})) == [field]


@pytest.mark.parametrize("missing", [*GIVEN])
def test_nothing_but_attachments_may_be_left_out(missing):
    given = {name: value for name, value in GIVEN.items() if name != missing}
    assert list(errors(SubmitVisit(), given)) == [missing]


def test_a_termination_names_a_known_reason_and_gives_advice():
    assert Terminate().load({"reason": "EMERGENCY", "advice": "请立即就诊"})["refund"] is False
    assert set(errors(Terminate(), {"reason": "BORED", "advice": "", "refund": "maybe"})) == {
        "reason",
        "advice",
        "refund",
    }


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, None, 5])
def test_a_reason_has_words(reason):
    assert list(errors(Reason(), {"reason": reason})) == ["reason"]


@pytest.mark.parametrize("status", ["waiting", "waiting,in_progress", "completed,completed"])
def test_states_may_be_joined_by_commas(status):
    assert VisitQuery().load({"status": status})["status"] == status


@pytest.mark.parametrize(
    "query",
    [{"status": "waiting,"}, {"status": "paid"}, {"kind": "x"}, {"q": ""}, {"limit": "0"}, {"cursor": "1"}],
)
def test_a_wrong_query_is_named(query):
    assert list(errors(VisitQuery(), query)) == list(query)


@pytest.mark.rule("R6-5")
def test_what_a_list_and_a_nurse_are_shown_holds_no_more_than_promised():
    assert set(VisitItem().fields) < set(VisitDetail().fields)
    assert not {"condition", "history", "order", "advice", "consents"} & set(VisitItem().fields)
    assert set(NurseVisit().fields) == {"id", "status", "doctor", "patient", "condition", "created_at"}


def test_times_go_out_in_utc_with_z():
    shown = VisitItem(only=["created_at", "ended_at"]).dump(
        {"created_at": datetime(2026, 3, 1, tzinfo=UTC), "ended_at": None}
    )
    assert shown == {"created_at": "2026-03-01T00:00:00.000Z", "ended_at": None}
