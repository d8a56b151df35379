import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE

import httpx
import pytest

from app.__main__ import ROLES, main
from scripts.embedded import free_port
from simulators.tencent_cloud import read_keys as read_tencent_keys
from simulators.wechat_login.app import read_keys as read_login_keys
from simulators.wechat_pay.keys import ensure_keys
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
    assert ROLES == ("all", "api", "im", "rtc", "worker")
    with pytest.raises(SystemExit) as ended:
        main(["--role", "everything"])
    assert ended.value.code == 2
    assert "invalid choice: 'everything'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def vendors(tmp_path_factory) -> dict[str, str]:
    """The files that vendors' adapters read, and addresses at which nobody answers."""
    folder = tmp_path_factory.mktemp("keys")
    ensure_keys(folder)
    read_login_keys(folder)
    read_tencent_keys(folder)
    files = {"WECHAT_PAY_FILE": "wechat_pay", "WECHAT_FILE": "wechat", "TENCENT_FILE": "tencent"}
    nowhere = dict.fromkeys(
        ("WECHAT_PAY_URL", "WECHAT_URL", "SMS_URL", "IDENTITY_URL"), f"https://127.0.0.1:{free_port()}"
    )
    return nowhere | {name: str(folder / f"{file}.json") for name, file in files.items()}


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_with_0(vendors, mongo_uri, redis_url, store, number):
    given = {"MONGO_URI": mongo_uri, "REDIS_URL": redis_url, "MONGO_DATABASE": store.db.name, "LISTEN_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", env={**MACHINE, **GIVEN, **vendors, **given}, stdout=PIPE, stderr=PIPE
    )
    try:
        lines = []
        async with asyncio.timeout(30):
            while not lines or lines[-1]["event"] != "app.ready":
                lines.append(json.loads(await process.stdout.readline()))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{lines[-1]['port']}", verify=False) as http:
            assert (await http.get("/readyz")).text == "ready\n"
            assert (await http.get("/api/v1/openapi.json")).json()["openapi"] == "3.1.0"
        process.send_signal(number)
        said, complained = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, complained) == (0, b"")
    assert [line for line in map(json.loads, said.splitlines()) if line["level"] == "error"] == []
