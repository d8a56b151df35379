import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from app.settings import describe
from core.errors import CODES
from scripts import specs
from scripts.specs import HEAD, as_yaml, between, contracts_list, errors_page, main, settings_table, stale, table

ROOT = Path(__file__).parents[2]
PAGE = f"# Page\n\n<!-- settings: {HEAD} -->\nold\n<!-- /settings -->\n\nWords.\n"


def test_what_is_committed_is_what_the_code_says():
    """In a process of its own: other tests count things too."""
    command = [sys.executable, "-m", "scripts.specs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("all generated files are fresh\n", 0)


def test_only_what_lies_between_the_markers_is_replaced():
    expected = f"# Page\n\n<!-- settings: {HEAD} -->\n\nnew\n\n<!-- /settings -->\n\nWords.\n"
    assert between(PAGE, "settings", "new") == expected
    assert between(expected, "settings", "new") == expected


def test_a_page_that_lost_its_markers_is_not_guessed_at():
    with pytest.raises(ValueError, match="the page lacks the markers <!-- settings: "):
        between("# Page\n", "settings", "new")


def test_a_stale_file_and_a_missing_one_are_named_and_then_written(tmp_path, monkeypatch, capsys):
    fresh, old, missing = (tmp_path / name for name in ("fresh.md", "old.md", "api/missing.md"))
    fresh.write_text("1")
    old.write_text("0")
    monkeypatch.setattr(specs, "ROOT", tmp_path)
    monkeypatch.setattr(specs, "documents", lambda root: {fresh: "1", old: "1", missing: "1"})
    wrong = [f"{name} is stale: run python -m scripts.specs" for name in ("old.md", "api/missing.md")]
    assert stale(tmp_path) == wrong
    assert (old.read_text(), missing.exists()) == ("0", False)
    assert main([]) == 0
    assert capsys.readouterr().out == "wrote old.md\nwrote api/missing.md\n"
    assert stale(tmp_path) == []


def test_an_argument_it_does_not_know_writes_nothing(monkeypatch):
    monkeypatch.setattr(specs, "documents", lambda root: pytest.fail("nothing was asked for"))
    assert main(["--chek"]) == 2


def test_documents_keep_their_order_and_their_characters_and_repeat_what_is_shared():
    shared = {"type": "string"}
    written = as_yaml({"title": "互联网医院", "b": shared, "a": (shared,)})
    assert written == f"# {HEAD}\ntitle: 互联网医院\nb:\n  type: string\na:\n- type: string\n"
    assert yaml.safe_load(written) == {"title": "互联网医院", "b": shared, "a": [shared]}


def test_a_bar_in_a_cell_does_not_end_it():
    assert table(("a", "b"), [("x|y", "z")]) == ["| a | b |", "| --- | --- |", "| x\\|y | z |"]


def test_every_refusal_and_every_setting_has_its_line():
    page = errors_page()
    assert [code for code, row in CODES.items() if f"| `{code}` | {row.status} | {row.title} |" not in page] == []
    settings = settings_table()
    assert [one["name"] for one in describe() if f"| `{one['name']}` |" not in settings] == []


def test_the_import_rules_are_the_names_of_the_contracts():
    listed = contracts_list(ROOT).splitlines()
    assert listed[0].startswith("- Imports go downwards only: scripts → app → ")
    assert len(listed) == (ROOT / "setup.cfg").read_text().count("[importlinter:contract:")


def test_every_metric_to_alarm_on_exists_and_says_what_it_means_and_what_to_do():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition("## What to alarm on\n")[2].partition("\n## ")[0]
    rows = [row.strip("|").split(" | ") for row in section.splitlines() if row.startswith("| `")]
    assert len(rows) > 20
    counted = {sample for one in REGISTRY.collect() for sample in sample_names(one.name, one.type)} | {"up"}
    for expression, *said in rows:
        named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\bup\b", re.sub(r"\{[^}]*\}", "", expression)))
        assert named - {"histogram_quantile"}, expression
        assert named - {"histogram_quantile"} <= counted, expression
        assert [bool(one.strip()) for one in said] == [True] * 3, expression
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section)) <= counted


def sample_names(name, kind):
    return {f"{name}_total"} if kind == "counter" else {name, f"{name}_bucket", f"{name}_count", f"{name}_sum"}
