"""What is measured: a hospital with its embedded stores in a folder that is thrown away, and the bare server beside it.

All of it are children of this process and die with it.
"""

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.auth import TokenSigner
from core.ids import SystemClock, new_id
from scripts.bench.client import Pair, Plan, Seat
from scripts.bootstrap import ROOT
from scripts.data_folder import DataFolder
from scripts.embedded import free_port
from scripts.launch import Launcher, Options, answers
from scripts.processes import LOOPBACK, mortal
from scripts.roles import load_accounts

# Limits that people feel and benches would only measure; the heartbeat at its shortest, so that idle sockets have been
# pinged at least once before their memory is read.
SETTINGS: Final = {
    "VISITS_PER_HOUR": "10000",
    "SOCKET_MESSAGES_PER_MINUTE": "1000000",
    "SOCKET_FRAMES_PER_SECOND": "1000000",
    "SOCKET_ACCEPTS_PER_SECOND": "1000000",
    "HEARTBEAT_SECONDS": "5",
}
TOKEN_SECONDS: Final = 4 * 3_600
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_LOAD_SECONDS: Final = 300.0


class BenchFailed(Exception):
    """Nothing could be measured; the message is one line."""


@dataclass(frozen=True)
class Target:
    """A server to put load on."""

    port: int
    pid: int


class Ground:
    """The started hospital. `fresh_app` replaces the application's process, so that none carries an earlier load."""

    def __init__(self, launcher: Launcher, seats: list[Seat], pairs: list[Pair]) -> None:
        self._launcher = launcher
        self.seats = seats
        self.pairs = pairs

    @property
    def mongo_uri(self) -> str:
        """Of the embedded store."""
        return self._launcher.env["MONGO_URI"]

    @property
    def redis_url(self) -> str:
        """Of the embedded store."""
        return self._launcher.env["REDIS_URL"]

    async def fresh_app(self) -> Target:
        """A new process of role `all`, ready."""
        application = self._launcher.application
        assert application is not None
        await application.stop(_STOP_SECONDS)
        await application.start()
        port = self._launcher.options.port
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while not await answers(port):
                    if application.pid is None:
                        raise BenchFailed(f"the application ended: {application.last_word()}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise BenchFailed(f"the application did not get ready: {application.last_word()}") from None
        assert application.pid is not None
        return Target(port, application.pid)

    @property
    def env(self) -> Mapping[str, str]:
        """What the application is started with."""
        return self._launcher.env

    @property
    def url(self) -> str:
        """Of the application, without a trailing slash."""
        return self._launcher.url

    def patients(self, count: int) -> dict[str, str]:
        """As `patients` of this hospital."""
        return patients(self.env, count)

    def strangers(self, count: int) -> list[Seat]:
        """Seats of so many new accounts."""
        return strangers(self.env, count)


def patients(env: Mapping[str, str], count: int) -> dict[str, str]:
    """New ids of accounts that need not exist, each with a valid token: neither a hello nor REST reads accounts.

    `env` is what the hospital was started with.
    """
    keys = {name: base64.b64decode(key) for name, key in json.loads(env["TOKEN_KEYS"]).items()}
    signer = TokenSigner(keys, env["TOKEN_KEY"])
    now = SystemClock().now()
    return {
        account: signer.issue(
            account=account,
            role="patient",
            audience="patient",
            session=new_id(),
            epoch=0,
            now=now,
            seconds=TOKEN_SECONDS,
        )
        for account in (new_id() for _ in range(count))
    }


def strangers(env: Mapping[str, str], count: int) -> list[Seat]:
    """Seats of so many new accounts in the hospital that was started with `env`."""
    return [Seat("/ws", token, f"bench-{account[-8:]}") for account, token in patients(env, count).items()]


@asynccontextmanager
async def open_ground(pairs: int, *, demo: bool = False) -> AsyncIterator[Ground]:
    """A hospital with so many open consultations, each of one patient with a doctor of their own; or with demo data."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = DataFolder.open(Path(temporary) / "hospital")
        launcher = Launcher(Options(free_port(), folder.path, fresh=False, demo=demo, rtc_workers=0), folder)
        launcher.env |= SETTINGS
        try:
            await launcher.start()
            lines = await load_accounts(launcher.env, patients=pairs, doctors=pairs) if pairs else []
            yield Ground(launcher, *seated(lines))
        finally:
            await launcher.stop()
            folder.close()


def seated(lines: Sequence[dict[str, str]]) -> tuple[list[Seat], list[Pair]]:
    """Seats for all accounts of `scripts.seed load`, and pairs of a patient with their doctor."""
    seats = [Seat("/ws", line["token"], line["device"]) for line in lines]
    place = {line["account"]: number for number, line in enumerate(lines)}
    pairs = [
        Pair(place[line["account"]], place[line["peer"]], line["conversation"])
        for line in lines
        if line["role"] == "patient"
    ]
    return seats, pairs


def paired(seats: Sequence[Seat], pairs: Sequence[Pair]) -> list[Seat]:
    """The same seats at the bare server, which joins by the path those whom the hospital joins by their visit."""
    paths = {place: f"/ws/{number}" for number, pair in enumerate(pairs) for place in (pair.sender, pair.peer)}
    return [Seat(paths[place], seat.token, seat.device) for place, seat in enumerate(seats)]


@asynccontextmanager
async def bare_server(
    module: str = "scripts.bench.echo", env: Mapping[str, str] | None = None
) -> AsyncIterator[Target]:
    """A fresh process of the module, which says its port in its first line; `env` as the hospital's, None: our own."""
    process = await asyncio.create_subprocess_exec(
        *mortal([sys.executable, "-m", module]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchFailed("the bare server did not start")
        yield Target(int(line), process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def put_load(target: Target, kind: str, seats: Sequence[Seat], **more: Any) -> dict[str, float]:
    """A load client on the server; what it measured. BenchFailed when the server did not play along."""
    plan = Plan(kind=kind, host=LOOPBACK, port=target.port, pid=target.pid, seats=list(seats), **more)
    process = await asyncio.create_subprocess_exec(
        *mortal([sys.executable, "-m", "scripts.bench.client"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_LOAD_SECONDS):
            out, said = await process.communicate(plan.to_json().encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise BenchFailed(lines[-1] if lines else f"the load client ended with {process.returncode}")
    measured: dict[str, float] = json.loads(out)
    return measured
