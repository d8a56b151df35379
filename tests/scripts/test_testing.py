from pathlib import Path

import pytest

from scripts import testing
from scripts.bootstrap import CannotStart
from scripts.testing import BESIDE, SystemSuite, ensure_packages, main, present, run_system

BROWSER = SystemSuite("browser", "tests/e2e", ("no-such-browser",), ("chromium", "fonts-noto-cjk"))


@pytest.fixture
def ran(monkeypatch) -> list[tuple[str, ...]]:
    """The arguments of every pytest run, all of which pass."""
    seen: list[tuple[str, ...]] = []

    def pytest_run(root: Path, *arguments: str) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(testing, "pytest", pytest_run)
    return seen


@pytest.fixture
def browser_suite(monkeypatch, tmp_path) -> SystemSuite:
    """A tree that has browser tests."""
    (tmp_path / "tests" / "e2e").mkdir(parents=True)
    suite = SystemSuite("browser", "tests/e2e", ("sh",), ("chromium",))
    monkeypatch.setattr(testing, "ROOT", tmp_path)
    monkeypatch.setattr(testing, "present", lambda root: present(root, [suite]))
    return suite


def test_arguments_go_to_pytest_and_system_suites_are_left_out(ran):
    assert main(["-k", "visit", "-x"]) == 0
    assert ran == [("--ignore=tests/e2e", "--ignore=tests/relay", "-k", "visit", "-x")]


def test_what_is_not_run_is_said(ran, browser_suite, capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == "not run: the browser tests (tests/e2e); scripts/test --system runs them\n"
    assert len(ran) == 1


def test_the_whole_suite_runs_in_several_processes_and_a_part_of_it_in_one(ran):
    assert (main([]), main(["tests/im"])) == (0, 0)
    left_out = ("--ignore=tests/e2e", "--ignore=tests/relay")
    assert ran == [(*left_out, *BESIDE), (*left_out, "tests/im")]


def test_system_suites_run_first_each_in_its_own_process(ran, browser_suite):
    assert main(["--system", "-x"]) == 0
    assert ran == [("-p", "no:tornado", "tests/e2e"), ("--ignore=tests/e2e", "--ignore=tests/relay", "-x")]


def test_without_system_suites_system_says_so_and_installs_nothing(ran, monkeypatch, capsys):
    monkeypatch.setattr(testing, "present", lambda root: [])
    monkeypatch.setattr(testing, "ensure_packages", lambda suite: pytest.fail("nothing uses it yet"))
    assert main(["--system"]) == 0
    assert capsys.readouterr().out == "--system adds the browser and relay tests; this version has none yet\n"


def test_a_failing_system_suite_fails_the_run_though_the_rest_passes(browser_suite, monkeypatch):
    monkeypatch.setattr(testing, "pytest", lambda root, *arguments: 1 if "tests/e2e" in arguments else 0)
    assert main(["--system"]) == 1


def test_the_first_failure_of_the_suites_is_the_answer(monkeypatch, tmp_path):
    statuses = iter([0, 3, 1])
    monkeypatch.setattr(testing, "pytest", lambda root, *arguments: next(statuses))
    suites = [SystemSuite(name, name, ("sh",), ()) for name in ("a", "b", "c")]
    assert run_system(tmp_path, suites) == 3


def test_who_may_not_install_is_told_what_is_missing(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotStart, match="the browser tests need chromium fonts-noto-cjk: install them as root"):
        ensure_packages(BROWSER)


def test_an_installation_that_fails_is_said_and_nothing_is_run(ran, monkeypatch, capsys):
    monkeypatch.setattr(testing, "present", lambda root: [BROWSER])
    monkeypatch.setattr("shutil.which", lambda program: "/bin/false" if program == "apt-get" else None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", lambda command, **_: type("Done", (), {"returncode": 100}))
    assert main(["--system"]) == 1
    assert ran == []
    expected = "scripts/test: the browser tests need chromium fonts-noto-cjk, which apt-get did not install\n"
    assert capsys.readouterr().err == expected
