import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.soak import chat
from scripts.soak.flow import SoakFailed
from scripts.soak.trial import Outcome
from scripts.soak.verdict import Verdict

KILLS = {"im-1": 2, "mongo": 2}


@pytest.fixture
def ran(monkeypatch):
    """What runs were asked for; each ends as the test says."""
    courses = []

    def end_with(outcome):
        async def run(course, tell):
            courses.append(course)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(chat, "run", run)
        return courses

    return end_with


def outcome(**counts) -> Outcome:
    return Outcome(Verdict(**counts), 1_234, [], {"cut": 5}, KILLS, 12.0)


def test_a_million_messages_unless_said_otherwise(ran, capsys):
    courses = ran(outcome())
    assert chat.main([]) == 0
    assert (courses[0].messages, courses[0].rounds) == (1_000_000, 2)
    printed = capsys.readouterr()
    assert f"seed {courses[0].seed}" in printed.err
    assert printed.out.splitlines()[-1] == "lost 0, duplicated 0, misordered 0, gapped 0"


def test_what_was_asked_for_is_run_from_its_seed(ran, capsys):
    courses = ran(outcome())
    given = ["--messages", "500", "--seconds", "30", "--conversations", "3", "--calm", "9", "--seed", "77", "--json"]
    assert chat.main(given) == 0
    [course] = courses
    assert (course.seed, course.messages, course.seconds, course.conversations, course.calm) == (77, 500, 30.0, 3, 9)
    said = json.loads(capsys.readouterr().out)
    assert {name: said[name] for name in ("lost", "duplicated", "misordered", "gapped")} == dict.fromkeys(
        ("lost", "duplicated", "misordered", "gapped"), 0
    )
    assert (said["messages"], said["kills"], said["course"]["seed"]) == (1_234, KILLS, 77)


@pytest.mark.parametrize("name", ["lost", "duplicated", "misordered", "gapped"])
def test_anything_that_went_wrong_is_1(ran, capsys, name):
    ran(outcome(**{name: 3}))
    assert chat.main([]) == 1
    assert f"{name} 3" in capsys.readouterr().out


def test_a_run_without_a_verdict_is_2_and_one_line(ran, capsys):
    ran(SoakFailed("nothing was acknowledged for 90 s"))
    assert chat.main(["--seed", "1"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "seed 1\nsoak: nothing was acknowledged for 90 s\n")


def test_the_file_runs_by_itself_and_refuses_what_makes_no_sense():
    command = [sys.executable, str(Path(chat.__file__)), "--messages", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert (done.returncode, "are positive" in done.stderr) == (2, True)
