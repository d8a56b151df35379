"""Child processes of the launcher: they die with it however it dies, do not hear Ctrl-C, and are stopped in order."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOG_TAIL_BYTES = 4_000
_LOG_ROTATED_BYTES = 20_000_000

# Runs in the child before the program: prctl(PR_SET_PDEATHSIG, SIGKILL) makes the kernel end it when we die; a parent
# that was already gone by then is told by the changed parent id.
_MORTAL = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(0); os.execv(sys.argv[2], sys.argv[2:])"
)


def mortal(command: Sequence[str]) -> list[str]:
    """The command, wrapped so that the kernel kills it when this process dies."""
    return [sys.executable, "-I", "-S", "-c", _MORTAL, str(os.getpid()), *command]


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def unless_taken(port: int) -> int:
    """The port, or 0 (any free one) when another program has it."""
    return port if port_is_free(port) else 0


class Child:
    """One program with its log file, started again after it ended as often as its owner likes."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.env = dict(env)
        self.folder = folder
        self._began_at = 0
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the running child."""
        return self._child.pid if self._child and self._child.returncode is None else None

    @property
    def status(self) -> int | None:
        """The exit status of one that has ended."""
        return self._child.returncode if self._child else None

    async def start(self) -> None:
        """Returns when the program runs, which says nothing about its being ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_ROTATED_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as log:
            self._began_at = log.tell()
            self._child = await asyncio.create_subprocess_exec(
                *mortal(self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.env,
                start_new_session=True,
            )

    async def stop(self, within_s: float) -> int | None:
        """SIGTERM, and kill -9 for one that has not ended in time; the exit status (0: ended in order)."""
        if self._child is None:
            return None
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await self._child.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int | None:
        """End it at once (kill -9), as a crash would; the exit status."""
        if self._child is None:
            return None
        self._signal(signal.SIGKILL)
        return await self._child.wait()

    async def wait(self) -> int | None:
        """The exit status, when it has ended."""
        return await self._child.wait() if self._child else None

    def said(self) -> list[str]:
        """The last lines of its log since it was started."""
        with self.log.open("rb") as log:
            log.seek(max(self._began_at, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()

    def last_word(self) -> str:
        """Its last line, which for ours is the reason they could not start."""
        lines = [line for line in self.said() if line.strip()]
        return lines[-1].strip()[:300] if lines else f"exit status {self.status}"

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None and self._child is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
                self._child.send_signal(number)
