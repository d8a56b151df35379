import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.embedded import free_port
from scripts.processes import Child, port_is_free, unless_taken

ROOT = Path(__file__).parents[2]
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


def child(tmp_path: Path, program: str) -> Child:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return Child(
        "child", [sys.executable, "-c", program], folder=tmp_path, log=tmp_path / "logs" / "child.log", env=env
    )


def test_a_port_that_somebody_has_is_not_free():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert (port_is_free(port), unless_taken(port)) == (False, 0)
    assert (port_is_free(port), unless_taken(port)) == (True, port)


@pytest.mark.gen_test
async def test_it_ends_in_order_when_asked_to(tmp_path):
    sleeping = child(tmp_path, "import signal; signal.sigwait([signal.SIGTERM])")
    await sleeping.start()
    assert sleeping.pid is not None
    assert await sleeping.stop(10) in (0, -signal.SIGTERM)  # the signal may come before the program waits for it
    assert sleeping.pid is None


@pytest.mark.gen_test
async def test_one_that_does_not_listen_is_killed(tmp_path):
    stubborn = child(tmp_path, STUBBORN)
    await stubborn.start()
    while not stubborn.said():  # noqa: ASYNC110  # a file has no event
        await asyncio.sleep(0.01)
    assert await stubborn.stop(0.2) == -signal.SIGKILL


@pytest.mark.gen_test
async def test_a_killed_one_has_no_time_to_end_in_order(tmp_path):
    stubborn = child(tmp_path, STUBBORN)
    assert await stubborn.kill() is None
    await stubborn.start()
    assert await stubborn.kill() == -signal.SIGKILL
    assert stubborn.pid is None


@pytest.mark.gen_test
async def test_its_last_word_is_of_this_run_alone(tmp_path):
    speaking = child(tmp_path, "print('first'); print(' the reason ')")
    await speaking.start()
    assert await speaking.wait() == 0
    silent = child(tmp_path, "raise SystemExit(3)")
    await silent.start()
    assert await silent.wait() == 3
    assert (speaking.last_word(), silent.last_word(), silent.said()) == ("the reason", "exit status 3", [])


@pytest.mark.gen_test
async def test_a_log_that_grew_large_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.processes._LOG_ROTATED_BYTES", 3)
    speaking = child(tmp_path, "print('new')")
    speaking.log.parent.mkdir()
    speaking.log.write_text("old words")
    await speaking.start()
    await speaking.wait()
    assert speaking.log.read_text() == "new\n"
    assert speaking.log.with_suffix(".old.log").read_text() == "old words"


def test_the_child_of_a_killed_parent_dies_too(tmp_path):
    program = f"""
import asyncio, os, sys
from pathlib import Path
from scripts.processes import Child
async def main():
    child = Child("c", ["/bin/sleep", "600"], folder=Path("/"), log=Path({str(tmp_path / "log")!r}), env=os.environ)
    await child.start()
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([orphan], [], [], 10)
    os.close(orphan)
    assert ended == [orphan]


def test_a_free_port_is_free():
    assert port_is_free(free_port())
