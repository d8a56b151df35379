import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.bootstrap import CannotStart
from scripts.demo import DEMO_PASSWORDS
from scripts.embedded import free_port
from scripts.launch import DEFAULT_PORT, DEFAULT_RTC_WORKERS, Options, read_options
from tests.scripts.serving import Launched, processes_of, wait_until_gone

Launch = Callable[..., Launched]
LOGIN = {"audience": "staff", "method": "password", "account": "guhuaijin", "password": DEMO_PASSWORDS["doctor"]}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> Path:
    """The data folder of a hospital with demo data that was started once and stopped by Ctrl-C."""
    folder = tmp_path_factory.mktemp("loaded") / "var"
    server = Launched(folder, free_port()).ready()
    assert (folder / "running.json").exists()
    assert server.end() == (0, "")
    return folder


@pytest.fixture
def folder(loaded, tmp_path) -> Path:
    """A copy of it, to be spoilt."""
    shutil.copytree(loaded, tmp_path / "var")
    return tmp_path / "var"


@pytest.fixture(scope="module")
def running(loaded, tmp_path_factory) -> Iterator[Launched]:
    """A server that runs while it is only looked at."""
    shutil.copytree(loaded, folder := tmp_path_factory.mktemp("running") / "var")
    server = Launched(folder, free_port()).ready()
    yield server
    server.close()


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts servers; none is left behind."""
    started: list[Launched] = []

    def start(folder: Path, *options: str, port: int | None = None, **env: str) -> Launched:
        started.append(Launched(folder, port or free_port(), *options, **env))
        return started[-1]

    yield start
    for server in started:
        server.close()


def kill_all(server: Launched) -> None:
    """kill -9 of every process, the launcher's children first; what it started again meanwhile dies with it."""
    everything = sorted(processes_of(server.folder).keys() - {server.process.pid}, reverse=True)
    for pid in [*everything, server.process.pid]:
        with contextlib.suppress(ProcessLookupError):  # a child of a child that is gone already
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
    for pid in {*everything, *processes_of(server.folder)}:
        wait_until_gone(pid)


@pytest.mark.timeout(180)
def test_what_is_printed_is_true(running):
    assert f"  地址 Address       {running.url}" in running.printed
    assert running.get("/readyz") == (200, "ready\n")
    assert running.get("/api/docs/")[0] == 200
    assert running.post("/api/v1/auth/login", LOGIN)[0] == 200


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_its_like_end_everything_in_order(folder, launch, number):
    server = launch(folder).ready()
    assert server.end(number) == (0, "")
    assert processes_of(folder) == {}
    assert not (folder / "running.json").exists()


@pytest.mark.timeout(180)
def test_after_kill_9_of_every_process_it_starts_again_with_all_that_was_there(folder, launch):
    server = launch(folder).ready()
    kill_all(server)
    assert processes_of(folder) == {}
    again = launch(folder).ready()
    assert again.post("/api/v1/auth/login", LOGIN)[0] == 200
    assert again.end() == (0, "")


@pytest.mark.timeout(180)
def test_a_killed_launcher_leaves_no_process_behind(folder, launch):
    server = launch(folder).ready()
    children = processes_of(folder).keys() - {server.process.pid}
    # Two stores, the simulators, the application and its call processes.
    assert len(children) == 4 + DEFAULT_RTC_WORKERS
    server.process.kill()
    for pid in children:
        wait_until_gone(pid)
    assert launch(folder).ready().end() == (0, "")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("part", "module"),
    [
        ("the application", "app --role all"),
        ("the simulators", "simulators"),
        ("the call process rtc-1", "app --role rtc"),
    ],
)
def test_a_part_that_dies_is_started_again(folder, launch, part, module):
    server = launch(folder).ready()
    victim = next(pid for pid, command in processes_of(folder).items() if f"-m {module} " in f"{command} ")
    os.kill(victim, signal.SIGKILL)
    assert server.process.stderr is not None
    assert server.process.stderr.readline() == f"{part} ended (-9), starting it again\n"
    server.until_it_answers("/readyz")
    assert server.end() == (0, "")


@pytest.mark.timeout(180)
def test_other_programs_find_the_simulators_and_the_stores_in_running_json(running):
    file = running.folder / "running.json"
    noted = json.loads(file.read_text())
    assert (noted["url"], noted["process"]) == (running.url, running.process.pid)
    assert noted["simulators"].keys() == {"wechat_pay", "wechat_login", "sms", "identity"}
    assert noted["settings"]["LISTEN_PORT"] == running.url.rpartition(":")[2]
    assert noted["settings"].keys() >= {"MONGO_URI", "REDIS_URL", "WECHAT_PAY_FILE"}
    assert not any("KEY" in name for name in noted["settings"])
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.timeout(180)
def test_a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on(running, launch):
    second = launch(running.folder, "--fresh").refused()
    expected = f"scripts/server: another server (process {running.process.pid}) is using {running.folder}\n"
    assert second == (1, expected)
    assert running.get("/readyz") == (200, "ready\n")


def test_a_port_that_is_taken_is_one_line_and_nothing_is_made(tmp_path, launch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = launch(tmp_path / "var", port=port).refused()
    assert refused == (1, f"scripts/server: port {port} is taken by another program: name another with --port\n")
    assert not (tmp_path / "var").exists()


@pytest.mark.timeout(180)
def test_a_damaged_data_folder_is_one_line_and_no_process_is_left(folder, launch):
    for file in (folder / "mongo" / "data").iterdir():
        if file.is_file():
            file.write_bytes(b"\0 this is no database \0" * 40)
    status, said = launch(folder).refused()
    assert status == 1
    assert said.startswith(f"scripts/server: SecantusDB: the data folder {folder}/mongo could not be opened (")
    assert said.count("\n") == 1
    assert processes_of(folder) == {}


def test_a_folder_that_is_not_ours_is_left_as_it_is(tmp_path, launch):
    (tmp_path / "thesis.txt").write_text("years of work")
    status, said = launch(tmp_path, "--fresh").refused()
    assert (status, said.count("\n")) == (1, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.timeout(180)
def test_fresh_forgets_everything(folder, launch):
    keys = (folder / "keys" / "settings.json").read_text()
    server = launch(folder, "--fresh", "--no-demo").ready()
    assert server.post("/api/v1/auth/login", LOGIN)[0] == 401
    assert (folder / "keys" / "settings.json").read_text() != keys
    assert server.end() == (0, "")


@pytest.mark.timeout(180)
def test_settings_that_make_no_hospital_are_one_line(folder, launch):
    status, said = launch(folder, LOG_LEVEL="loud").refused()
    assert status == 1
    assert said.startswith("scripts/server: the application ended (settings: LOG_LEVEL must be one of ")
    assert said.count("\n") == 1


def test_the_command_line_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("LISTEN_PORT", raising=False)
    given = read_options(["--port", "9000", "--data-dir", str(tmp_path), "--fresh", "--no-demo", "--rtc-workers", "3"])
    assert given == Options(9000, tmp_path, fresh=True, demo=False, rtc_workers=3)
    assert read_options([]).port == DEFAULT_PORT
    monkeypatch.setenv("LISTEN_PORT", "8090")
    assert read_options([]).port == 8090


@pytest.mark.parametrize("number", [-1, 17])
def test_so_many_call_processes_cannot_be(number):
    with pytest.raises(CannotStart, match=f"--rtc-workers is a number from 0 to 16, not {number}"):
        read_options([f"--rtc-workers={number}"])


def test_a_port_that_cannot_be_is_refused():
    with pytest.raises(CannotStart, match="--port is a number from 1 to 65535, not 70000"):
        read_options(["--port", "70000"])
