"""Every module has its mirrored test: `pkg/a/b.py` has `tests/pkg/a/test_b.py` with a test in it.

`__main__.py` has `test_main.py`; a package whose `__init__.py` does something has a test named after the package.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

PACKAGES: Final = ("app", "core", "im", "integrations", "rtc", "simulators", "storage", "scripts")
# module → why it has no test of its own
EXEMPT: Final[Mapping[str, str]] = {
    "core/context.py": "declarations only: the collaborators' names and types",
    "core/metrics.py": "declarations only: the names of what is counted",
    "core/ports.py": "declarations only: Protocols and the values they carry",
    "rtc/media.py": "declarations only: Protocols and the values they carry",
    "rtc/metrics.py": "declarations only: the names of what is counted",
    "storage/migrations/m0001_indexes.py": "tests/storage/migrations/test_migrations.py runs every migration",
}


def check(root: Path) -> list[str]:
    """The modules without a test, and exemptions that nothing needs any more."""
    wrong = []
    for module in modules(root):
        name = str(module.relative_to(root))
        mirrored = mirror_of(module, root)
        if name not in EXEMPT and not _has_test(mirrored):
            wrong.append(f"{name} has no test: {mirrored.relative_to(root)}")
    wrong += [f"{name} is exempt from having a test, but does not exist" for name in _gone(root)]
    return wrong


def modules(root: Path) -> Iterator[Path]:
    """All modules that do something, in order."""
    for package in PACKAGES:
        for module in sorted((root / package).rglob("*.py")):
            if module.name != "__init__.py" or _does_something(module):
                yield module


def mirror_of(module: Path, root: Path) -> Path:
    """Where its test belongs."""
    folder = root / "tests" / module.relative_to(root).parent
    if module.name == "__init__.py":
        return folder / f"test_{module.parent.name}.py"
    return folder / f"test_{module.stem.strip('_')}.py"


def _does_something(module: Path) -> bool:
    """Whether there is more in it than words and imports."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.parse(module.read_text(encoding="utf-8")).body
    )


def _has_test(file: Path) -> bool:
    if not file.exists():
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )


def _gone(root: Path) -> list[str]:
    return [name for name in EXEMPT if (root / name.partition("/")[0]).exists() and not (root / name).exists()]
