"""docs/features.md against the tests: what it calls done is shown by a marked test in the files it names.

Rows of its tables begin with an id in the first column. A half is done when its column of tests names a file (in
backticks), and open when it is `—`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.checks.marks import Marked, marked

FILE: Final = "docs/features.md"
_FEATURE = re.compile(r"[A-Z]\d+\.\d+")
_RULE = re.compile(r"R\d+-\d+")
_TEST = re.compile(r"`(tests/[\w/.-]+\.py)`")


@dataclass(frozen=True)
class Row:
    """One line of a table: its id, and the test files each half names."""

    id: str
    halves: tuple[tuple[str, ...], ...]

    @property
    def tests(self) -> set[str]:
        """All files it names."""
        return {test for half in self.halves for test in half}


def check(root: Path) -> list[str]:
    """What the page says that the tests do not show, and what the tests show that the page does not say."""
    rows = read((root / FILE).read_text(encoding="utf-8"))
    features = [row for row in rows if _FEATURE.fullmatch(row.id)]
    rules = [row for row in rows if _RULE.fullmatch(row.id)]
    return [*_compare(root, features, "feature"), *_compare(root, rules, "rule")]


def read(page: str) -> list[Row]:
    """The rows of all its tables, in order."""
    rows = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and (_FEATURE.fullmatch(cells[0]) or _RULE.fullmatch(cells[0])):
            rows.append(Row(cells[0], tuple(tuple(_TEST.findall(cell)) for cell in cells[1:] if "`tests/" in cell)))
    return rows


def _compare(root: Path, rows: list[Row], mark: str) -> list[str]:
    found: Marked = marked(root, mark)
    wrong = [f"{FILE}: {row.id} stands there twice" for n, row in enumerate(rows) if row.id in _ids(rows[:n])]
    for row in rows:
        wrong += [
            f"{FILE}: {row.id} names {test}, which does not exist"
            for test in sorted(row.tests)
            if not (root / test).exists()
        ]
        for half in row.halves:
            if not set(half) & found.get(row.id, set()):
                wrong.append(
                    f'{FILE}: {row.id} is called done, but no test in {", ".join(half)} carries {mark}("{row.id}")'
                )
    wrong += [
        f"{FILE} lacks {mark} {id_}, which {min(found[id_])} carries" for id_ in sorted(found.keys() - _ids(rows))
    ]
    return wrong


def _ids(rows: list[Row]) -> set[str]:
    return {row.id for row in rows}
