"""Which tests carry `@pytest.mark.feature("P1.3")` and `@pytest.mark.rule("R3-4")`, read without running anything."""

import ast
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

# id → the test files, relative to the root, with a test that carries it
Marked: TypeAlias = dict[str, set[str]]


def marked(root: Path, mark: str) -> Marked:
    """All ids given to a mark anywhere in tests/."""
    found: Marked = defaultdict(set)
    for file in sorted((root / "tests").rglob("test_*.py")):
        source = file.read_text(encoding="utf-8")
        if f"pytest.mark.{mark}" in source:  # parsing is the slow part
            for id_ in _ids(ast.parse(source), mark):
                found[id_].add(str(file.relative_to(root)))
    return dict(found)


def _ids(tree: ast.Module, mark: str) -> set[str]:
    """The string arguments of every `pytest.mark.<mark>(…)`."""
    wanted = f"pytest.mark.{mark}"
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == wanted]
    arguments = [argument for call in calls for argument in call.args]
    return {value.value for value in arguments if isinstance(value, ast.Constant) and isinstance(value.value, str)}
