from pathlib import Path

import pytest

from scripts.checks import mirror


@pytest.fixture
def root(tmp_path) -> Path:
    """A tree in which everything is in step."""
    files = {
        "core/__init__.py": '"""Words."""\nfrom core import visits\n',
        "core/visits/__init__.py": "",
        "core/visits/rules.py": "FEE = 1\n",
        "tests/core/visits/test_rules.py": "async def test_a_fee(): ...\n",
        "app/__main__.py": "print()\n",
        "tests/app/test_main.py": "class TestIt:\n    def test_it(self): ...\n",
        "scripts/demo/__init__.py": "def read(): ...\n",
        "tests/scripts/demo/test_demo.py": "def test_it(): ...\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for name in mirror.EXEMPT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("X = 1\n")
    return tmp_path


def test_a_tree_in_step_is_passed(root):
    assert mirror.check(root) == []


def test_a_module_without_a_test_is_named_with_the_place_of_its_test(root):
    (root / "core" / "visits" / "service.py").write_text("async def submit(): ...\n")
    assert mirror.check(root) == ["core/visits/service.py has no test: tests/core/visits/test_service.py"]


def test_a_file_without_a_test_in_it_is_no_test(root):
    (root / "tests" / "app" / "test_main.py").write_text("import app\n")
    assert mirror.check(root) == ["app/__main__.py has no test: tests/app/test_main.py"]


def test_a_package_that_does_something_needs_a_test_of_its_own(root):
    (root / "core" / "__init__.py").write_text("def start(): ...\n")
    assert mirror.check(root) == ["core/__init__.py has no test: tests/core/test_core.py"]


def test_an_exemption_that_nothing_needs_is_named(root):
    (root / "core" / "ports.py").unlink()
    assert mirror.check(root) == ["core/ports.py is exempt from having a test, but does not exist"]


def test_every_exemption_has_its_reason():
    assert all(len(reason.split()) > 3 for reason in mirror.EXEMPT.values())
