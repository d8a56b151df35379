"""What benchmarks reckon with: percentiles, medians with their spread, targets, and the table and JSON they print."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One ratio to reach: `at_least` or `at_most` of it is the target, without either it is only reported."""

    name: str
    meaning: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        """As the table shows it."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    def is_reached(self, value: float) -> bool | None:
        """Whether the value reaches the target; None without one."""
        if self.at_least is not None:
            return value >= self.at_least
        return value <= self.at_most if self.at_most is not None else None


def percentile(values: Sequence[float], share: float) -> float:
    """The lowest value that at least `share` (0 to 1) of all do not exceed: nearest rank. ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Rounds:
    """What was measured, by name, one value a round."""

    def __init__(self) -> None:
        self.values: defaultdict[str, list[float]] = defaultdict(list)

    def note(self, **measured: float) -> None:
        """The values of one round."""
        for name, value in measured.items():
            self.values[name].append(value)

    def median(self, name: str) -> float:
        """Over the rounds; KeyError when it was not measured."""
        if name not in self.values:
            raise KeyError(name)
        return statistics.median(self.values[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The lowest and the highest round."""
        return min(self.values[name]), max(self.values[name])


def summary(rounds: Rounds, figures: Sequence[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    """The one JSON object: each figure's median under its name, the other medians, every round, and the load."""
    named = {figure.name for figure in figures}
    return {
        **{figure.name: _short(rounds.median(figure.name)) for figure in figures if figure.name in rounds.values},
        "reported": {name: _short(rounds.median(name)) for name in rounds.values if name not in named},
        "rounds": {name: [_short(value) for value in values] for name, values in rounds.values.items()},
        "about": dict(about),
    }


def table(rounds: Rounds, figures: Sequence[Figure]) -> str:
    """For people: figures with their targets first, then what is only reported."""
    named = {figure.name: figure for figure in figures}
    shown = [name for name in named if name in rounds.values] + [name for name in rounds.values if name not in named]
    rows: list[tuple[str, ...]] = [("", "median", "lowest", "highest", "to reach", "")]
    for name in shown:
        low, high = rounds.spread(name)
        rows.append(
            (
                name,
                *(f"{_short(value):g}" for value in (rounds.median(name), low, high)),
                *_verdict(rounds, named.get(name)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    meanings = [f"{figure.name}: {figure.meaning}" for figure in figures if figure.name in rounds.values]
    return "\n".join([*lines, "", *meanings])


def _verdict(rounds: Rounds, figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "", ""
    reached = figure.is_reached(rounds.median(figure.name))
    return figure.target, "" if reached is None else "reached" if reached else "not reached"


def _short(value: float) -> float:
    """Four significant digits: more would promise what a shared machine cannot hold."""
    return float(f"{value:.4g}")
