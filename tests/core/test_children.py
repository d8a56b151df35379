import subprocess
import sys

from core.children import environment


def test_a_child_learns_no_secrets_and_can_import_our_modules(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELD_KEYS", "secret")
    monkeypatch.setenv("MONGO_URI", "mongodb://user:secret@store")
    monkeypatch.setenv("LANG", "C.UTF-8")
    script = "import core.children, os; print(sorted(os.environ))"
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    assert "LANG" in said
    assert "PYTHONPATH" in said
    assert "FIELD_KEYS" not in said
    assert "MONGO_URI" not in said
