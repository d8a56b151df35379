from datetime import UTC, datetime, timedelta

import pytest

from core.policy import Policy
from rtc import states

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
POLICY = Policy()


def legs(doctor, patient, generation=1):
    return {
        "doctor": {"state": doctor, "generation": generation},
        "patient": {"state": patient, "generation": generation},
    }


def test_every_live_state_ends_at_its_deadline_by_a_step_that_starts_there():
    assert set(states.AT_DEADLINE) == states.LIVE
    for status, act in states.AT_DEADLINE.items():
        step = states.STEPS[act]
        assert (status in step.frm, step.to, step.roles) == (True, "ended", states.WORKER)


def test_only_ends_have_a_reason_and_nothing_leaves_the_end():
    for step in states.STEPS.values():
        assert (step.to == "ended") is (step.reason is not None)
        assert "ended" not in step.frm


def test_the_visits_end_ends_a_call_wherever_it_is():
    assert set(states.STEPS["close"].frm) == states.LIVE


@pytest.mark.parametrize(
    ("status", "seconds"), [("ringing", 45), ("connecting", 20), ("reconnecting", 30), ("active", 7_200)]
)
def test_each_state_has_its_deadline(status, seconds):
    assert states.deadline_of(status, NOW, None, POLICY) == NOW + timedelta(seconds=seconds)


def test_the_longest_call_is_counted_from_its_beginning_and_an_ended_one_has_no_deadline():
    began = NOW - timedelta(seconds=100)
    assert states.deadline_of("active", NOW, began, POLICY) == began + timedelta(seconds=7_200)
    assert states.deadline_of("ended", NOW, began, POLICY) is None


@pytest.mark.parametrize(
    ("status", "doctor", "patient", "act"),
    [
        ("connecting", "connected", "connected", "connect"),
        ("connecting", "connected", "connecting", None),
        ("connecting", "lost", "none", None),
        ("active", "connected", "connected", None),
        ("active", "connected", "lost", "drop"),
        ("active", "connecting", "connected", "drop"),
        ("reconnecting", "connected", "connected", "resume"),
        ("reconnecting", "lost", "connected", None),
        ("ringing", "none", "none", None),
    ],
)
def test_what_the_legs_make_of_a_call(status, doctor, patient, act):
    assert states.act_of(status, legs(doctor, patient)) == act


@pytest.mark.parametrize(
    ("generation", "state", "after"),
    [
        (1, "lost", {"state": "lost", "generation": 1}),
        (2, "connecting", {"state": "connecting", "generation": 2}),
        (1, "connected", None),  # nothing changes
        (0, "lost", None),  # of a leg that has been replaced
        (1, "connecting", None),  # its offer came again
    ],
)
def test_a_leg_changes_by_what_is_told_of_its_present_generation(generation, state, after):
    changed = states.with_leg(legs("connected", "connected"), "doctor", generation, state)
    assert (changed and changed["doctor"]) == after
    assert changed is None or changed["patient"] == {"state": "connected", "generation": 1}


def test_without_media_what_was_offered_is_lost_and_the_rest_still_nothing():
    before = {"doctor": {"state": "connected", "generation": 3}, "patient": {"state": "none", "generation": 0}}
    assert states.without_media(before) == {
        "doctor": {"state": "lost", "generation": 3},
        "patient": {"state": "none", "generation": 0},
    }


def test_members_and_sides():
    call = {"doctor_id": "d1", "patient_account": "p1"}
    assert states.members_of(call) == ["d1", "p1"]
    assert [states.side_of(call, account) for account in ("d1", "p1", "x")] == ["doctor", "patient", None]


def test_a_call_is_overdue_from_its_deadline_on_while_it_is_live():
    call = {"status": "ringing", "deadline_at": NOW}
    moments = [NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)]
    assert [states.is_overdue(call, moment) for moment in moments] == [False, True, True]
    assert not states.is_overdue({"status": "ended", "deadline_at": None}, NOW)
