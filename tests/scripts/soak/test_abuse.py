import json
import subprocess
from types import SimpleNamespace

import pytest

from scripts.bootstrap import ROOT
from scripts.soak import abuse

MEASURED = {
    "sent": 120,
    "measured": 100,
    "grown": {"descriptors": 0, "memory": 4096},
    "by_input": {"descriptors": 0.0, "memory": 40.96},
    "orphans": {"media": 0, "pieces": 2},
}


@pytest.fixture
def ran(monkeypatch):
    """What was started instead of the test, which leaves figures and succeeds."""
    started = []

    def start(command, *, env, **more):
        started.append((command, env))
        if env[abuse.FIGURES] != "none":
            with open(env[abuse.FIGURES], "w", encoding="utf-8") as file:
                json.dump(MEASURED, file)
        return SimpleNamespace(returncode=started_with["status"])

    started_with = {"status": 0}
    monkeypatch.setattr(subprocess, "run", start)
    return SimpleNamespace(started=started, given=started_with)


def test_the_test_is_run_with_as_many_inputs_as_asked_for_and_its_figures_are_printed(ran, capsys):
    assert abuse.main(["--inputs", "77", "--json"]) == 0
    ((command, environment),) = ran.started
    assert command[-1] == abuse.TEST
    assert (ROOT / abuse.TEST).exists()
    assert environment[abuse.INPUTS] == "77"
    assert json.loads(capsys.readouterr().out) == MEASURED


def test_without_a_word_it_is_ten_thousand_and_a_table(ran, capsys):
    assert abuse.main([]) == 0
    assert ran.started[0][1][abuse.INPUTS] == "10000"
    assert capsys.readouterr().out.splitlines() == [
        "120 inputs, of which 100 were measured after warming up",
        "descriptors            +0       +0.0 an input",
        "memory              +4096     +40.96 an input",
        "left: media             0",
        "left: pieces            2",
    ]


def test_what_was_left_behind_is_the_exit_status(ran):
    ran.given["status"] = 1
    assert abuse.main(["--json"]) == 1
