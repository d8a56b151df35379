from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from core.policy import Policy
from core.visits import rules
from storage.visits import Status

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy()

# act, who, from, to, what becomes of the order: the table of the protocol, written down a second time.
TABLE = [
    ("submit", {"system"}, {"pending_payment"}, "waiting", "never"),
    ("expire", {"system"}, {"pending_payment"}, "expired", "always"),
    ("cancel", {"patient"}, {"pending_payment", "waiting"}, "cancelled", "always"),
    ("accept", {"doctor"}, {"waiting"}, "in_progress", "never"),
    ("decline", {"doctor", "system"}, {"waiting"}, "declined", "always"),
    ("complete", {"doctor", "system"}, {"in_progress"}, "completed", "never"),
    ("terminate", {"doctor"}, {"in_progress"}, "terminated", "when_asked"),
    ("refund", {"doctor"}, {"waiting", "in_progress"}, "refunded", "always"),
]


def test_the_moves_are_those_of_the_protocol():
    found = [(act, set(row.roles), set(row.frm), row.to, row.settles) for act, row in rules.MOVES.items()]
    assert found == TABLE


def test_every_state_is_reached_and_no_ended_visit_moves_on():
    assert {row.to for row in rules.MOVES.values()} | {"pending_payment"} == set(get_args(Status))
    assert not {frm for row in rules.MOVES.values() for frm in row.frm} & rules.ENDED


@pytest.mark.rule("R1-8")
def test_no_move_of_a_consultation_leads_to_a_diagnosis_or_a_prescription():
    named = {*rules.MOVES, *(row.to for row in rules.MOVES.values()), *get_args(Status)}
    assert not [name for name in named if "prescri" in name or "diagnos" in name]


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        ("pending_payment", 15 * 60),
        ("waiting", 24 * 3600),
        ("in_progress", 48 * 3600),
        ("completed", None),
        ("cancelled", None),
    ],
)
def test_each_open_state_has_its_deadline(status, seconds):
    due = rules.deadline_of(status, NOW, POLICY)
    assert due == (None if seconds is None else NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("reason", "asked", "settled"),
    [("UNSUITABLE", False, False), ("UNSUITABLE", True, True), ("JUDGED_FIRST_VISIT", False, True)],
)
def test_a_termination_gives_the_fee_back_when_asked_and_always_for_a_first_visit(reason, asked, settled):
    assert rules.settles(rules.MOVES["terminate"], reason=reason, refund_asked=asked) is settled


@pytest.mark.parametrize(
    ("status", "days", "refundable"),
    [("completed", 7, True), ("completed", 7.01, False), ("terminated", 1, False), ("cancelled", 1, False)],
)
def test_a_completed_visit_may_be_given_back_for_a_week(status, days, refundable):
    visit = {"status": status, "ended_at": NOW}
    assert rules.is_refundable_after_end(visit, NOW + timedelta(days=days), POLICY) is refundable


@pytest.mark.parametrize(
    ("status", "days", "rateable"),
    [("completed", 30, True), ("terminated", 30, True), ("completed", 30.01, False), ("declined", 1, False)],
)
def test_completed_and_terminated_visits_may_be_rated_for_a_month(status, days, rateable):
    visit = {"status": status, "ended_at": NOW}
    assert rules.is_rateable(visit, NOW + timedelta(days=days), POLICY) is rateable


def test_only_the_two_who_take_part_may_read():
    visit = {"patient_account": "p", "doctor_id": "d", "submitted_at": NOW}
    assert [rules.may_read(visit, account) for account in ("p", "d", "x")] == [True, True, False]


def test_an_unpaid_visit_does_not_concern_the_doctor():
    visit = {"patient_account": "p", "doctor_id": "d", "submitted_at": None}
    assert rules.readers_of(visit) == ["p"]
    assert not rules.may_read(visit, "d")


@pytest.mark.parametrize(
    ("act", "frm", "to", "changes"),
    [
        ("submit", "pending_payment", "waiting", True),
        ("submit", "waiting", "waiting", True),
        ("accept", "waiting", "in_progress", True),
        ("cancel", "waiting", "cancelled", True),
        ("complete", "in_progress", "completed", True),
        ("refund", "in_progress", "refunded", True),
        ("create", "pending_payment", "pending_payment", False),
        ("cancel", "pending_payment", "cancelled", False),
        ("expire", "pending_payment", "expired", False),
        ("refund", "completed", "completed", False),
        ("rate", "completed", "completed", False),
    ],
)
def test_the_numbers_of_the_desk_change_with_what_waits_and_is_in_progress(act, frm, to, changes):
    step = {"act": act, "frm": frm, "to": to, "at": None, "actor": "a", "role": "doctor", "reason": None}
    assert rules.changes_desk(step) is changes
