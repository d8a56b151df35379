"""Debian's coturn at the loopback interface, as compose.yaml runs it."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.acting import until
from scripts.embedded import free_port
from scripts.processes import LOOPBACK, Child

READY_SECONDS = 20.0


@dataclass
class Coturn:
    """A running relay and the secret that it shares with the hospital."""

    url: str
    secret: str
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@asynccontextmanager
async def coturn(folder: Path, secret: str) -> AsyncIterator[Coturn]:
    """It relays to everybody, and has ended afterwards."""
    program = shutil.which("turnserver")
    assert program is not None, "scripts/test --system installs Debian's coturn"
    port = free_port()
    command = [
        program,
        *("-n", "--log-file=stdout", "--simple-log", "--no-cli", "--no-tls", "--no-dtls", "--fingerprint", "--verbose"),
        *("--realm=internet-hospital", "--use-auth-secret", f"--static-auth-secret={secret}"),
        *(f"--listening-ip={LOOPBACK}", f"--relay-ip={LOOPBACK}", f"--listening-port={port}"),
        *(f"--userdb={folder / 'turndb'}", f"--pidfile={folder / 'turnserver.pid'}"),
    ]
    child = Child("coturn", command, folder=folder, log=folder / "coturn.log", env={})
    await child.start()
    try:
        await until(partial(_listens, port), seconds=READY_SECONDS)
        yield Coturn(f"turn:{LOOPBACK}:{port}?transport=udp", secret, child.log)
    finally:
        await child.kill()


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.close()
        return True
    return False
