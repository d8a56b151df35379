from dataclasses import fields

import pytest

from core.policy import DAY, LivePolicy, Policy


@pytest.mark.parametrize("one", fields(Policy), ids=lambda one: one.name)
def test_every_number_has_bounds_that_hold_its_default_and_a_meaning(one):
    assert one.metadata["low"] <= one.default <= one.metadata["high"]
    assert one.metadata["meaning"]


@pytest.mark.rule("R3-3")
def test_the_age_below_which_a_guardian_is_needed_cannot_be_lowered_under_fourteen():
    bounds = {one.name: one.metadata for one in fields(Policy)}
    assert (bounds["child_years"]["low"], Policy().child_years) == (14, 14)


@pytest.mark.rule("R2-2")
def test_the_years_of_practice_cannot_be_lowered_under_three():
    bounds = {one.name: one.metadata for one in fields(Policy)}
    assert (bounds["practice_years"]["low"], Policy().practice_years) == (3, 3)


def test_records_and_chat_are_kept_at_least_as_long_as_the_law_says():
    bounds = {one.name: one.metadata["low"] for one in fields(Policy)}
    assert (bounds["retain_record_years"], bounds["retain_chat_years"]) == (15, 3)
    assert Policy().refresh_token_seconds == 30 * DAY


def test_a_live_policy_takes_all_numbers_of_another_and_is_read_like_any():
    live = LivePolicy()
    live.take(Policy(visits_per_hour=7, practice_years=5))
    assert (live.visits_per_hour, live.practice_years, live.child_years) == (7, 5, 14)
    live.take(Policy())
    assert vars(live) == vars(Policy())


def test_what_a_process_reads_once_is_fixed():
    fixed = {one.name for one in fields(Policy) if one.metadata["fixed"]}
    assert fixed == {"media_image_pixels", "socket_accepts_per_second", "heartbeat_seconds"}
