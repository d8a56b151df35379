from pathlib import Path

import pytest

from scripts import checking
from scripts.checking import Check, Outcome, complaints, executables, main


def break_down() -> list[str]:
    raise ValueError("no such page")


def test_all_checks_run_and_all_failures_are_listed(monkeypatch, capsys):
    given = [Check("one", lambda: ["a is wrong", "b is wrong"]), Check("two", list), Check("three", break_down)]
    monkeypatch.setattr(checking, "checks", lambda root: given)
    assert main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("(")[0].strip() for line in lines] == [
        "FAILED  one",
        "a is wrong",
        "b is wrong",
        "ok      two",
        "FAILED  three",
        "ValueError: no such page",
        "failed: one, three",
    ]


def test_when_nothing_is_wrong_it_ends_with_0(monkeypatch, capsys):
    monkeypatch.setattr(checking, "checks", lambda root: [Check("one", list)])
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all checks pass"


def test_an_argument_is_not_understood(capsys):
    assert main(["--fast"]) == 2
    assert capsys.readouterr().err == "usage: scripts/check\n"


def test_a_program_that_fails_is_quoted_and_one_that_passes_is_not(tmp_path):
    assert complaints(tmp_path, "-c", "print('fine')") == []
    assert complaints(tmp_path, "-c", "import sys; print('bad'); sys.exit('worse')") == ["bad", "worse"]
    assert complaints(tmp_path, "-c", "raise SystemExit(3)") == ["exit status 3"]


def test_a_check_that_breaks_has_failed():
    outcome = checking.run(Check("three", break_down))
    assert (outcome.name, outcome.wrong) == ("three", ["ValueError: no such page"])
    assert isinstance(outcome, Outcome)


def test_programs_without_a_suffix_are_checked_too():
    root = Path(__file__).parents[2]
    assert {"scripts/check", "scripts/server", "scripts/test"} <= set(executables(root))
    for name in executables(root):
        assert (root / name).stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize(
    "name", ["types", "generated documents", "import rules", "style", "form", "mirrored", "docs/features"]
)
def test_everything_static_is_among_the_checks(name):
    assert any(check.name.startswith(name) for check in checking.checks(Path(__file__).parents[2]))
