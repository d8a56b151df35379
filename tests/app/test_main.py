import json
import os
import subprocess
import sys

import pytest

from app.__main__ import ROLES, main
from scripts.embedded import free_port
from tests.app.test_settings import GIVEN

# What a process needs of the machine; nothing of the hospital's.
MACHINE = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}


def run(*arguments: str, **names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**MACHINE, **names},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_settings_it_ends_with_2_and_one_line():
    done = run("--role", "all")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'settings: Environment variable "MONGO_URI" not set\n'


def test_a_bad_key_is_named_and_not_shown():
    done = run(**GIVEN | {"LINK_KEY": "c2VjcmV0"})
    assert (done.returncode, done.stderr) == (2, "settings: LINK_KEY must be 32 bytes\n")


def test_a_store_that_is_away_ends_it_with_1_and_one_line():
    mongo = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    done = run(**GIVEN | {"MONGO_URI": mongo, "LISTEN_PORT": "0"})
    assert (done.returncode, done.stderr) == (1, "a store cannot be reached: ServerSelectionTimeoutError\n")
    assert all(json.loads(line)["level"] != "error" for line in done.stdout.splitlines())


def test_a_taken_port_is_told_before_any_store_is_asked():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(**GIVEN | {"LISTEN_PORT": str(port)})
    assert (done.returncode, done.stderr) == (
        2,
        f"settings: cannot listen on 127.0.0.1:{port}: Address already in use\n",
    )


def test_roles_are_those_that_there_are(capsys):
    assert ROLES == ("all", "api", "im", "worker")
    with pytest.raises(SystemExit) as ended:
        main(["--role", "everything"])
    assert ended.value.code == 2
    assert "invalid choice: 'everything'" in capsys.readouterr().err
