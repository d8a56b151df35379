"""A `scripts/server` as a person starts it, for the tests of what it promises."""

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90
ENDED_SECONDS = 60


class Launched:
    """The launcher as a child; `ready` before anything is asked of it."""

    def __init__(self, folder: Path, port: int, *options: str, **env: str) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        # As from a terminal, even where the tests run under nohup.
        terminal = ("env", "--default-signal=HUP")
        program = (sys.executable, "-m", "scripts.launch")
        command = [*terminal, *program, "--port", str(port), "--data-dir", str(folder), *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=_environment() | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def ready(self) -> "Launched":
        """Returns when it has printed its last line; AssertionError with its own words when it ends before."""
        while not self.printed or "Ctrl-C" not in self.printed[-1]:
            line = self._lines.get(timeout=READY_SECONDS)
            assert line is not None, self.refused()
            self.printed.append(line)
        return self

    def refused(self) -> tuple[int, str]:
        """Exit status and standard error of one that ends by itself."""
        assert self.process.stderr is not None
        status = self.process.wait(ENDED_SECONDS)
        said = self.process.stderr.read()
        self.close()
        return status, said

    def close(self) -> None:
        """Kill it, should it still run, and let go of its output."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit status and standard error after a signal."""
        self.process.send_signal(number)
        return self.refused()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        return fetch(urllib.request.Request(self.url + path))

    def until_it_answers(self, path: str) -> None:
        """Returns when 200 comes; AssertionError when none does in time."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.get(path)[0] == 200:
                    return
            except OSError:  # nobody listens just now
                threading.Event().wait(0.05)
        raise AssertionError(f"{path} does not answer")

    def post(self, path: str, body: Any) -> tuple[int, str]:
        """Status and body."""
        content = json.dumps(body).encode()
        return fetch(urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"}))


def fetch(request: urllib.request.Request) -> tuple[int, str]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def processes_of(folder: Path) -> dict[int, str]:
    """Command lines, by process id, of every process that has to do with the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                seen = command + (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
            except OSError:  # it ended while we looked
                continue
            if str(folder).encode() in seen:
                found[int(entry.name)] = command.decode()
    return found


def wait_until_gone(pid: int) -> None:
    """Returns when no such process runs any more; AssertionError when that takes too long."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], ENDED_SECONDS)
    os.close(descriptor)
    assert ended, f"process {pid} goes on"


def _environment() -> dict[str, str]:
    """The person's, without settings of a hospital that may be set where the tests run."""
    mine = ("MONGO_URI", "REDIS_URL", "LISTEN_PORT", "LISTEN_HOST", "PUBLIC_URL", "PRODUCTION")
    return {name: value for name, value in os.environ.items() if name not in mine}
