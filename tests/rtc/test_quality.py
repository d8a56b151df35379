import pytest

from rtc import quality
from rtc.media import Quality


def test_sums_hold_mean_and_worst_of_what_was_measured():
    sums = quality.fresh()
    for loss, bitrate in ((0.0, 500_000), (0.3, 100_000), (None, 300_000)):
        sums = quality.added(sums, Quality(loss=loss, jitter=None, round_trip=0.05, bitrate=bitrate))
    assert sums["loss"] == {"samples": 2, "mean": pytest.approx(0.15), "worst": 0.3}
    assert sums["bitrate"] == {"samples": 3, "mean": pytest.approx(300_000), "worst": 100_000}
    assert sums["jitter"] == {"samples": 0, "mean": 0.0, "worst": 0.0}
    assert sums["round_trip"]["samples"] == 3


def test_adding_leaves_what_was_there():
    first = quality.fresh()
    quality.added(first, Quality(loss=0.1, jitter=0.1, round_trip=0.1, bitrate=1))
    assert first == quality.fresh()
