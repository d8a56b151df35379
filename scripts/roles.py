"""A hospital as production runs it: each role a process of its own; on embedded stores, in a folder for the time.

Every part can be killed as a crash would kill it and started again on its port and folder, so that others find it.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from app.settings import Settings
from scripts.bootstrap import ROOT, CannotStart
from scripts.data_folder import DataFolder
from scripts.embedded import Embedded, free_port
from scripts.launch import Launcher, Options, answers, start_store
from scripts.processes import Child

READY_SECONDS: Final = 90.0
_SEED_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.05


class Roles:
    """The parts by name: processes of the application as they were asked for, and the stores `mongo` and `redis`."""

    def __init__(self, launcher: Launcher, roles: Mapping[str, str]) -> None:
        self._launcher = launcher
        self.ports = {name: free_port() for name in roles}
        self._processes = {
            name: launcher.child(name, "app", "--role", role, LISTEN_PORT=str(self.ports[name]))
            for name, role in roles.items()
        }
        mongo, redis = launcher.stores
        self._stores: dict[str, Embedded] = {"mongo": mongo, "redis": redis}

    @property
    def names(self) -> list[str]:
        """Of all parts."""
        return [*self._processes, *self._stores]

    @property
    def env(self) -> Mapping[str, str]:
        """What its processes are started with: addresses of the stores, keys."""
        return self._launcher.env

    @property
    def database(self) -> str:
        """The name of its database."""
        return self.env.get("MONGO_DATABASE", Settings.mongo_database)

    def pid(self, name: str) -> int | None:
        """The part's process; None while it is dead."""
        return self._processes[name].pid if name in self._processes else self._stores[name].pid

    async def start(self) -> None:
        """The application's processes, all at once; the stores run already."""
        await asyncio.gather(*(self.revive(name) for name in self._processes))

    async def kill(self, name: str) -> None:
        """kill -9; on return the process is gone."""
        await (self._processes[name].kill() if name in self._processes else self._stores[name].kill())

    async def revive(self, name: str) -> None:
        """Start a dead part, as often as it takes while a store is away too; on return it is ready. CannotStart."""
        if name in self._stores:
            await start_store(self._stores[name])
            return
        process = self._processes[name]
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await answers(self.ports[name]):
                    if process.pid is None:
                        await process.start()
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise CannotStart(f"{name} did not get ready: {process.last_word()}") from None

    async def stop(self) -> None:
        """End the application's processes, without order: nothing is kept of them. The stores are the launcher's."""
        await asyncio.gather(*(process.kill() for process in self._processes.values()))


@asynccontextmanager
async def open_roles(roles: Mapping[str, str], **settings: str) -> AsyncIterator[Roles]:
    """Such a hospital with these processes (name → role) and settings. CannotStart, StartFailed."""
    with tempfile.TemporaryDirectory(prefix="roles-") as temporary:
        folder = DataFolder.open(Path(temporary) / "hospital")
        launcher = Launcher(Options(free_port(), folder.path, fresh=False, demo=False, rtc_workers=0), folder)
        # The stores are killed: those that the environment may name are not ours to kill.
        for name in ("MONGO_URI", "REDIS_URL"):
            launcher.env.pop(name, None)
        launcher.env |= settings
        started: Roles | None = None
        try:
            await launcher.prepare()
            started = Roles(launcher, roles)
            await started.start()
            yield started
        finally:
            if started is not None:
                await started.stop()
            await launcher.stop()
            folder.close()


async def load_accounts(env: Mapping[str, str], *, patients: int, doctors: int) -> list[dict[str, str]]:
    """The lines of `scripts/seed load` for the hospital with this environment. CannotStart when it makes none."""
    with tempfile.TemporaryDirectory(prefix="seed-") as temporary:
        out = Path(temporary) / "accounts.jsonl"
        command = [sys.executable, "-m", "scripts.seed", "load", "--out", str(out)]
        counts = ["--patients", str(patients), "--doctors", str(doctors)]
        seeding = Child("seed", [*command, *counts], folder=ROOT, log=Path(temporary) / "seed.log", env=env)
        await seeding.start()
        try:
            async with asyncio.timeout(_SEED_SECONDS):
                status = await seeding.wait()
        finally:
            await seeding.kill()
        if status != 0:
            raise CannotStart(f"no accounts were made: {seeding.last_word()}")
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
