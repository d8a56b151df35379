"""Sound and picture on one time line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtc.clocks import ASTRAY_SECONDS, LegClock

SOUND, PICTURE = 48_000, 90_000
NTP = 1 << 32


def ntp(seconds):
    return int(seconds * NTP)


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(0, 90_000), max_size=30))
def test_time_goes_on_when_timestamps_begin_again_at_zero(first, steps):
    clock, ticks = LegClock(), 0
    assert clock.at("video", PICTURE, first, 5.0) == 5.0
    for step in steps:
        ticks += step
        seconds = 5.0 + ticks / PICTURE
        assert clock.at("video", PICTURE, first + ticks & 0xFFFFFFFF, seconds) == pytest.approx(seconds)


def test_arrival_is_what_counts_without_reports():
    clock = LegClock()
    clock.at("audio", SOUND, 1000, 1.0)
    assert clock.at("audio", SOUND, 1000 + SOUND, 2.3) == pytest.approx(2.0)


def test_reports_of_both_put_sound_and_picture_in_step():
    clock = LegClock()
    clock.at("audio", SOUND, 0, 1.0)
    clock.at("video", PICTURE, 0, 1.1)  # taken at the same time, but it came 0.1 s later
    clock.report("audio", ntp(5000.0), 0)
    clock.report("video", ntp(5000.0), 0)
    assert clock.at("video", PICTURE, PICTURE, 2.1) == pytest.approx(2.0)
    assert clock.at("audio", SOUND, SOUND, 2.0) == pytest.approx(2.0)


def test_a_clock_that_runs_too_fast_is_put_right_by_every_report():
    clock = LegClock()
    clock.at("audio", SOUND, 0, 0.0)
    clock.report("audio", ntp(5000.0), 0)
    for minute in range(1, 61):
        ticks = round(minute * 60 * SOUND * 1.0005)  # half a thousandth: 1.8 s in an hour
        assert clock.at("audio", SOUND, ticks, minute * 60.0) == pytest.approx(minute * 60, abs=0.035)
        clock.report("audio", ntp(5000.0 + minute * 60), ticks)


def test_a_sender_that_sets_its_clock_does_not_move_the_recording():
    clock = LegClock()
    clock.at("audio", SOUND, 0, 0.0)
    clock.at("video", PICTURE, 0, 0.0)
    for stream, rate in (("audio", SOUND), ("video", PICTURE)):
        clock.report(stream, ntp(5000.0), 0)
        clock.at(stream, rate, rate, 1.0)
    clock.report("audio", ntp(9001.0), SOUND)
    clock.report("video", ntp(9001.02), PICTURE)
    assert clock.at("audio", SOUND, 2 * SOUND, 2.0) == pytest.approx(2.0)
    assert clock.at("video", PICTURE, 2 * PICTURE, 2.0) == pytest.approx(2.02)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_no_timestamp_takes_a_frame_further_away_than_allowed(first, second):
    clock = LegClock()
    clock.at("audio", SOUND, first, 10.0)
    assert abs(clock.at("audio", SOUND, second, 10.5) - 10.5) <= ASTRAY_SECONDS


def test_another_source_begins_with_its_arrival():
    clock = LegClock()
    clock.at("video", PICTURE, 0, 0.0)
    clock.restart("video")
    assert clock.at("video", PICTURE, 77, 3.0) == 3.0


def test_a_report_before_the_first_frame_says_nothing():
    clock = LegClock()
    clock.report("video", ntp(5000.0), 0)
    assert clock.at("video", PICTURE, 0, 4.0) == 4.0
