"""How good a side's media was over a whole call: running sums of what is measured every few seconds. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from rtc.media import Quality

FIGURES: Final = ("loss", "jitter", "round_trip", "bitrate")


def fresh() -> dict[str, Any]:
    """The sums before anything was measured."""
    return {name: {"samples": 0, "mean": 0.0, "worst": 0.0} for name in FIGURES}


def added(summary: Mapping[str, Any], quality: Quality) -> dict[str, Any]:
    """The sums with one more measurement; what nothing tells of yet does not count.

    The worst is the highest of everything but the bitrate, of which it is the lowest.
    """
    found = dict(summary)
    for name in FIGURES:
        value = getattr(quality, name)
        if value is None:
            continue
        sums = summary[name]
        samples = sums["samples"] + 1
        worse = min if name == "bitrate" else max
        found[name] = {
            "samples": samples,
            "mean": sums["mean"] + (value - sums["mean"]) / samples,
            "worst": float(value) if samples == 1 else float(worse(sums["worst"], value)),
        }
    return found
