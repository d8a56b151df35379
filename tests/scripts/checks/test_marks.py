from scripts.checks.marks import marked

TESTS = """
import pytest
pytestmark = pytest.mark.feature("P1.8")

@pytest.mark.gen_test
@pytest.mark.feature("P1.3")
@pytest.mark.rule("R3-4")
async def test_one(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("R2-1"))])
def test_two(x): ...
"""


def test_marks_are_found_wherever_pytest_takes_them(tmp_path):
    file = tmp_path / "tests" / "core" / "test_it.py"
    file.parent.mkdir(parents=True)
    file.write_text(TESTS)
    assert marked(tmp_path, "feature") == {"P1.8": {"tests/core/test_it.py"}, "P1.3": {"tests/core/test_it.py"}}
    assert marked(tmp_path, "rule") == {"R3-4": {"tests/core/test_it.py"}, "R2-1": {"tests/core/test_it.py"}}


def test_words_that_only_look_like_marks_are_not(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text('"""@pytest.mark.rule("R1-1")"""\nmark.rule("R1-2")\n')
    (tmp_path / "tests" / "story.py").write_text('import pytest\n@pytest.mark.rule("R1-3")\ndef f(): ...\n')
    assert marked(tmp_path, "rule") == {}
