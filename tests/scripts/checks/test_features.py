from pathlib import Path

import pytest

from scripts.checks import features
from scripts.checks.features import Row

HEAD = "| id | 功能 | api | api tests | page | page tests |\n| --- | --- | --- | --- | --- | --- |\n"
PAGE = (
    HEAD + "| P1.1 | 指定医生 | `GET /doctors` | `tests/test_doctors.py` | — | — |\n| P1.9 | 视频 | — | — | — | — |\n"
)
RULES = "\n| R2-8 | 执业证书 | `tests/test_doctors.py` |\n"
TESTS = 'import pytest\n@pytest.mark.feature("P1.1")\n@pytest.mark.rule("R2-8")\ndef test_it(): ...\n'


@pytest.fixture
def root(tmp_path) -> Path:
    """A tree whose page says what its tests show."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs" / "features.md").write_text(PAGE + RULES)
    (tmp_path / "tests" / "test_doctors.py").write_text(TESTS)
    return tmp_path


def test_rows_are_read_with_the_files_each_half_names():
    row = "| P1.2 | 选择 | `GET /patients` | `tests/a.py`, `tests/b/c.py` | pages | `tests/e2e/test_d.py` |"
    assert features.read(row) == [Row("P1.2", (("tests/a.py", "tests/b/c.py"), ("tests/e2e/test_d.py",)))]


def test_a_page_that_says_what_the_tests_show_is_passed(root):
    assert features.check(root) == []


def test_a_half_called_done_needs_a_marked_test_in_one_of_its_files(root):
    (root / "tests" / "test_doctors.py").write_text("def test_it(): ...\n")
    assert features.check(root) == [
        'docs/features.md: P1.1 is called done, but no test in tests/test_doctors.py carries feature("P1.1")',
        'docs/features.md: R2-8 is called done, but no test in tests/test_doctors.py carries rule("R2-8")',
    ]


def test_a_file_that_does_not_exist_is_named(root):
    (root / "docs" / "features.md").write_text(
        PAGE.replace("test_doctors.py`", "test_doctors.py`, `tests/gone.py`") + RULES
    )
    assert features.check(root) == ["docs/features.md: P1.1 names tests/gone.py, which does not exist"]


def test_a_page_half_is_held_to_its_own_test(root):
    page = PAGE.replace("`tests/test_doctors.py` | — | — |", "`tests/test_doctors.py` | list | `tests/test_page.py` |")
    (root / "docs" / "features.md").write_text(page + RULES)
    (root / "tests" / "test_page.py").write_text("def test_it(): ...\n")
    assert features.check(root) == [
        'docs/features.md: P1.1 is called done, but no test in tests/test_page.py carries feature("P1.1")'
    ]


def test_what_the_tests_show_stands_on_the_page_once(root):
    (root / "docs" / "features.md").write_text(PAGE + PAGE)
    assert features.check(root) == [
        "docs/features.md: P1.1 stands there twice",
        "docs/features.md: P1.9 stands there twice",
        "docs/features.md lacks rule R2-8, which tests/test_doctors.py carries",
    ]


def test_our_own_page_knows_every_row_that_was_asked_for():
    page = (Path(__file__).parents[3] / "docs" / "features.md").read_text(encoding="utf-8")
    rows = [row.id for row in features.read(page)]
    assert len([id_ for id_ in rows if "." in id_]) == 74
    assert {"R1-8", "R2-1", "R2-2", "R2-8", "R3-1", "R3-3", "R3-4", "R6-5", "R6-8"} <= set(rows)
