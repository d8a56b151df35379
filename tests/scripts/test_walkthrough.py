import json

import pytest

from scripts import walkthrough
from scripts.acting import NotAsPromised, Refused
from scripts.story import CONSULTATION, DEMO_PATIENT_PHONE


@pytest.fixture
def run_file(hospital, tmp_path):
    """What scripts/server would have left for this hospital."""
    outside = hospital.outside
    simulators = {name: getattr(outside, name) for name in ("wechat_pay", "wechat_login", "sms", "identity")}
    file = tmp_path / "running.json"
    file.write_text(json.dumps({"url": hospital.url, "simulators": simulators}))
    return file


@pytest.fixture
def on_our_loop(monkeypatch, io_loop):
    """The command's own loop is that of the tests, in which the hospital runs."""
    monkeypatch.setattr(walkthrough.asyncio, "run", lambda work: io_loop.run_sync(lambda: work, timeout=100))


def test_the_whole_consultation_is_as_promised(run_file, on_our_loop, capsys):
    assert walkthrough.main(["--run-file", str(run_file), "consultation"]) == 0
    said = capsys.readouterr().out.splitlines()
    steps = [line for line in said if line.startswith("  ✓")]
    assert [line.split("ms  ")[1][:34].strip() for line in steps] == [
        step.__name__.replace("_", " ") for step in CONSULTATION
    ]
    assert said[-1] == "as promised"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotAsPromised("the price is shown"), "NotAsPromised: the price is shown"),
        (Refused("wrong_state"), "Refused: wrong_state"),
        (IndexError("no conversation"), "IndexError: no conversation"),
        (ValueError("not JSON"), "ValueError: not JSON"),
    ],
)
def test_the_first_broken_promise_ends_it_with_1(run_file, on_our_loop, monkeypatch, capsys, error, told):
    walked = []

    async def fine(stage):
        """It is fine."""
        walked.append("fine")

    async def something_breaks(stage):
        raise error

    async def never(stage):
        walked.append("never")

    monkeypatch.setattr(walkthrough, "STORIES", {"consultation": (fine, something_breaks, never)})
    assert walkthrough.main(["--run-file", str(run_file)]) == 1
    said = capsys.readouterr().out
    assert walked == ["fine"]
    assert said.splitlines()[-1] == f"  ✗ something breaks: {told}"
    assert "as promised" not in said


def test_a_hospital_that_is_not_there_ends_it_with_1(run_file, on_our_loop, capsys):
    assert walkthrough.main(["--run-file", str(run_file), "--url", "http://127.0.0.1:9/"]) == 1
    assert "✗ patient logs in: ConnectError" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "not json", "{}"])
def test_without_a_running_server_it_says_what_to_start(tmp_path, capsys, content):
    file = tmp_path / "running.json"
    if content is not None:
        file.write_text(content)
    assert walkthrough.main(["--run-file", str(file)]) == 1
    assert capsys.readouterr().err == f"no running hospital: {file} cannot be read; start scripts/server first\n"


def test_an_unknown_story_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        walkthrough.main(["operation"])
    assert ended.value.code == 2
    assert "invalid choice: 'operation'" in capsys.readouterr().err


def test_the_demo_patient_can_be_told_from_a_real_number():
    assert DEMO_PATIENT_PHONE.startswith("1990")
