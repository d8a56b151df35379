import os

import pytest

from scripts import load_demo
from storage.mongo import STORE_AWAY


@pytest.fixture
def without_settings(monkeypatch) -> None:
    """An environment that describes no hospital."""
    for name in list(os.environ):
        if name.startswith(("MONGO_", "REDIS_")):
            monkeypatch.delenv(name)


def test_settings_that_make_no_hospital_are_one_line(without_settings, capsys):
    assert load_demo.main() == 1
    said = capsys.readouterr().err
    assert "MONGO_URI" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("the demo data must not be loaded in production mode"), "the demo data must not be loaded in"),
        (STORE_AWAY[0]("secret address"), "a store cannot be reached: "),
    ],
)
def test_what_keeps_it_from_loading_is_one_line(monkeypatch, capsys, error, line):
    async def fail(settings):
        raise error

    monkeypatch.setattr(load_demo, "read", lambda: type("Settings", (), {"log_level": "info"}))
    monkeypatch.setattr(load_demo.logs, "configure", lambda level: None)
    monkeypatch.setattr(load_demo, "run", fail)
    assert load_demo.main() == 1
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert (said.count("\n"), "secret" in said) == (1, False)


def test_once_loaded_it_ends_with_0(monkeypatch):
    async def load(settings):
        return False

    monkeypatch.setattr(load_demo, "read", lambda: type("Settings", (), {"log_level": "info"}))
    monkeypatch.setattr(load_demo.logs, "configure", lambda level: None)
    monkeypatch.setattr(load_demo, "run", load)
    assert load_demo.main() == 0
