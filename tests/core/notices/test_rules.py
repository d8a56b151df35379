from datetime import UTC, datetime, timedelta

import pytest

from core.notices import rules
from core.policy import Policy
from core.visits.rules import ANNOUNCEMENTS

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def step(act, frm="waiting", to="in_progress"):
    return {"at": NOW, "actor": "a", "role": "r", "act": act, "frm": frm, "to": to, "reason": None}


def message(account, age_seconds=120, recalled_at=None):
    return {"account": account, "at": NOW - timedelta(seconds=age_seconds), "recalled_at": recalled_at}


@pytest.mark.parametrize(
    ("acts", "concerned"),
    [
        (["create"], None),
        (["create", "submit"], (2, "doctor")),
        (["submit", "accept"], (2, "patient")),
        (["submit", "accept", "complete"], (3, "patient")),
        (["submit", "decline"], (2, "patient")),
        (["submit", "refund"], (2, "patient")),
        (["accept", "terminate"], (2, "patient")),
        (["submit", "cancel"], None),
        ([], None),
    ],
)
def test_the_newest_step_decides_who_is_told(acts, concerned):
    assert rules.concerned([step(act) for act in acts]) == concerned


def test_what_moved_nothing_is_passed_over_unless_it_is_a_refund():
    rated = step("rate", "completed", "completed")
    assert rules.concerned([step("complete"), rated]) == (1, "patient")
    assert rules.concerned([step("complete"), step("refund", "completed", "completed"), rated]) == (2, "patient")
    assert rules.concerned([step("submit", "waiting", "waiting")]) == (1, "doctor")  # a visit without a fee


def test_every_step_that_concerns_somebody_is_said_in_the_chat_too():
    assert set(rules.CONCERNED) <= set(ANNOUNCEMENTS)


def test_words_fit_what_wechat_takes_for_a_thing_and_the_time_is_chinas():
    words = rules.values("patient", "message", NOW)
    assert words == {"matter": "您有一条新消息", "hint": "请打开小程序查看", "at": "2026-05-04 17:00"}
    said = [rules.HINT, *(matter for matters in rules.MATTERS.values() for matter in matters.values())]
    assert all(len(one) <= 20 for one in said)


def test_a_notice_is_due_soon_and_not_before_the_pause_is_over():
    assert rules.due_at(NOW, None, 600) == NOW + timedelta(seconds=5)
    assert rules.due_at(NOW, NOW - timedelta(seconds=100), 600) == NOW + timedelta(seconds=500)
    assert rules.due_at(NOW, NOW - timedelta(seconds=599), 600) == NOW + timedelta(seconds=5)


@pytest.mark.parametrize(("ago", "left"), [(None, 0), (0, 600), (599, 1), (600, 0), (10_000, 0), (-5_000, 600)])
def test_the_pause_is_never_longer_than_it_is_even_after_the_clock_was_set_back(ago, left):
    noticed_at = None if ago is None else NOW - timedelta(seconds=ago)
    assert rules.left_of_pause(NOW, noticed_at, 600) == left


def test_the_pause_is_ten_minutes_unless_the_hospital_sets_another():
    assert Policy().notice_pause_seconds == 600


@pytest.mark.parametrize(
    ("said", "news"),
    [([], False), ([message("p")], False), ([message("system")], False), ([message("p"), message("d")], True)],
)
def test_only_what_another_person_said_is_news(said, news):
    assert rules.are_news(said, "p") is news
    assert rules.are_news([message("d", recalled_at=NOW)], "p") is False


@pytest.mark.parametrize(("age", "missed"), [(10, False), (60, True), (3_600, True), (100_000, False)])
def test_a_message_is_missed_once_it_has_waited_a_minute_and_for_a_day(age, missed):
    assert rules.may_be_missed([message("d", age)], "p", NOW) is missed
