from datetime import UTC, datetime, timedelta

from core.auth import Actor
from core.outbox import BACKOFF, MAX_ATTEMPTS, Later, entry, next_try

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_history_entry_says_who_did_what_when_and_why():
    written = entry(Actor("a1", "doctor"), "decline", frm="waiting", to="declined", at=NOW, reason="出诊")
    assert written == {
        "at": NOW,
        "actor": "a1",
        "role": "doctor",
        "act": "decline",
        "frm": "waiting",
        "to": "declined",
        "reason": "出诊",
    }


def test_a_failing_duty_waits_longer_each_time_and_is_then_left_to_a_person():
    waits = [next_try(attempts, NOW) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert waits[0] == NOW + timedelta(seconds=2)
    assert waits[len(BACKOFF)] == NOW + timedelta(seconds=BACKOFF[-1])
    assert waits[-1] is None
    assert sum((wait - NOW).total_seconds() for wait in waits[:-1]) > 24 * 3600


def test_a_duty_that_is_not_done_yet_says_when_to_come_back():
    assert Later(30).seconds == 30
