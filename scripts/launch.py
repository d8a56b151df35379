"""`scripts/server`: the whole hospital on one machine, with its stores, the simulated outside world and demo data.

Starts in the order stores, simulators, demo data, application, and stops in the reverse order. Everything runs as a
child that dies with this process; the application, its call processes, the simulators and the stores are started again
when they end.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts import summary
from scripts.bootstrap import ROOT, CannotStart
from scripts.data_folder import DataFolder
from scripts.embedded import Embedded, EmbeddedMongo, EmbeddedRedis, StartFailed
from scripts.processes import LOOPBACK, Child, port_is_free, unless_taken

DEFAULT_PORT: Final = 8080
DEFAULT_RTC_WORKERS: Final = 1
MOST_RTC_WORKERS: Final = 16
READY_SECONDS: Final = 60.0
DEMO_SECONDS: Final = 180.0
# Over how long its sockets are told to go elsewhere: here there is no elsewhere, and a person waits.
APP_DRAIN_SECONDS: Final = 1
APP_STOP_SECONDS: Final = 45.0  # requests get ten seconds to finish, then it lets go of the stores
SIMULATORS_STOP_SECONDS: Final = 10.0
# What ended is started again; what ends this often within a minute will not live, and the person should see why.
RESTARTS_A_MINUTE: Final = 5
# A store that is up but stores nothing (a full or broken disk) is seen by a written probe, twice in a row.
PROBE_EVERY_SECONDS: Final = 10.0
# name in the simulators' ready lines → (its port option, its usual port, the setting that points to it)
SIMULATORS: Final[Mapping[str, tuple[str, int, str]]] = {
    "wechat_pay": ("--wechat-pay-port", 9301, "WECHAT_PAY_URL"),
    "wechat_login": ("--wechat-port", 9302, "WECHAT_URL"),
    "sms": ("--sms-port", 9303, "SMS_URL"),
    "identity": ("--identity-port", 9304, "IDENTITY_URL"),
}


@dataclass(frozen=True)
class Options:
    """The command line."""

    port: int
    data_dir: Path
    fresh: bool
    demo: bool
    rtc_workers: int


class Launcher:
    """The running hospital's parts."""

    def __init__(self, options: Options, folder: DataFolder) -> None:
        self.options = options
        self.folder = folder
        self.url = f"http://{LOOPBACK}:{options.port}"
        self.stores: list[Embedded] = []
        self.simulators: Child | None = None
        self.simulator_urls: dict[str, str] = {}
        self.application: Child | None = None
        self.rtc_workers: list[Child] = []
        self.env = dict(os.environ)
        self.settings = {
            "LISTEN_HOST": LOOPBACK,
            "LISTEN_PORT": str(options.port),
            "PUBLIC_URL": self.url,
            "DRAIN_SECONDS": str(APP_DRAIN_SECONDS),
            "RECORDINGS_DIR": str(folder.recordings),
        }

    async def start(self) -> None:
        """Returns when the hospital takes requests. CannotStart or StartFailed otherwise; `stop` is due even then."""
        await self.prepare()
        if self.options.demo:
            await self._load_demo()
        self.application = self.child("app", "app", "--role", "all")
        await self.application.start()
        await self._until_ready()
        for number in range(1, self.options.rtc_workers + 1):
            # Only its health and metrics are at its port.
            worker = self.child(f"rtc-{number}", "app", "--role", "rtc", LISTEN_PORT="0")
            self.rtc_workers.append(worker)
            await worker.start()
        self.folder.note("running.json", self.addresses())

    async def prepare(self) -> None:
        """Start the stores and the simulators; from here on `env` is what the application's processes are started with.

        CannotStart or StartFailed; `stop` is due even then.
        """
        secrets = self.folder.secrets()
        async with asyncio.TaskGroup() as starting:
            starting.create_task(self._start_stores())
            starting.create_task(self._start_simulators())
        # What the person at the terminal has set stays; only the port is the command line's.
        self.env = {**secrets, **self.settings, **self.env, "LISTEN_PORT": str(self.options.port)}

    def addresses(self) -> dict[str, object]:
        """What other programs on this machine need in order to talk to it."""
        return {
            "url": self.url,
            "process": os.getpid(),
            "simulators": self.simulator_urls,
            "settings": self.settings,  # without the secrets, which lie under keys/
        }

    async def stop(self) -> None:
        """In order: the application first, the stores last, so that all that was acknowledged is kept."""
        applications = [*([self.application] if self.application else []), *self.rtc_workers]
        await asyncio.gather(*(one.stop(APP_STOP_SECONDS) for one in applications))
        if self.simulators:
            await self.simulators.stop(SIMULATORS_STOP_SECONDS)
        await asyncio.gather(*(store.stop() for store in self.stores))

    async def supervise(self) -> None:
        """Start again what ends; raises CannotStart when something will not live."""
        assert self.application is not None
        assert self.simulators is not None
        async with asyncio.TaskGroup() as watch:
            watch.create_task(_keep("the application", self.application.wait, self._restart_application))
            watch.create_task(_keep("the simulators", self.simulators.wait, self._restart_simulators))
            for worker in self.rtc_workers:
                watch.create_task(_keep(f"the call process {worker.name}", worker.wait, worker.start))
            for store in self.stores:
                watch.create_task(_keep(store.name, _ended(store), store.restart))

    async def _start_stores(self) -> None:
        if "MONGO_URI" not in self.env:
            mongo = EmbeddedMongo(self.folder.path / "mongo")
            self.stores.append(mongo)
            self.settings["MONGO_URI"] = mongo.uri
        if "REDIS_URL" not in self.env:
            redis = EmbeddedRedis(self.folder.path / "redis")
            self.stores.append(redis)
            self.settings["REDIS_URL"] = redis.url
        if self.stores and (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise CannotStart("the embedded stores run on Linux x86-64 only: give MONGO_URI and REDIS_URL")
        # Both to their end, so that none is still starting while the other's failure stops everything.
        outcomes = await asyncio.gather(*map(start_store, self.stores), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _start_simulators(self) -> None:
        ports = [part for option, port, _ in SIMULATORS.values() for part in (option, str(unless_taken(port)))]
        folders = ("--state-dir", str(self.folder.simulators), "--keys-dir", str(self.folder.keys))
        self.simulators = self.child("simulators", "simulators", *folders, *ports)
        await self.simulators.start()
        self.simulator_urls = await self._simulators_ready(self.simulators)
        self.settings |= {SIMULATORS[name][2]: url for name, url in self.simulator_urls.items()}
        self.settings |= {
            "WECHAT_PAY_FILE": str(self.folder.keys / "wechat_pay.json"),
            "WECHAT_FILE": str(self.folder.keys / "wechat.json"),
            "TENCENT_FILE": str(self.folder.keys / "tencent.json"),
        }

    async def _simulators_ready(self, child: Child) -> dict[str, str]:
        async with _within(READY_SECONDS, "the simulators did not get ready", child):
            while True:
                ready = [line.split() for line in child.said() if line.startswith("ready ")]
                if len(ready) == len(SIMULATORS):
                    return {name: url for _, name, url in ready}
                if child.pid is None:
                    raise CannotStart(child.last_word())
                await asyncio.sleep(0.02)

    async def _load_demo(self) -> None:
        mark = _demo_mark()
        if self.folder.noted("demo.json") == mark:
            return
        loader = self.child("demo", "scripts.load_demo")
        await loader.start()
        async with _within(DEMO_SECONDS, "the demo data did not get loaded", loader):
            status = await loader.wait()
        if status != 0:
            raise CannotStart(f"the demo data were not loaded ({loader.last_word()}); all it said is in {loader.log}")
        self.folder.note("demo.json", mark)

    async def _until_ready(self) -> None:
        child = self.application
        assert child is not None
        async with _within(READY_SECONDS, "the application did not get ready", child):
            while not await answers(self.options.port):
                if child.pid is None:
                    raise CannotStart(f"the application ended ({child.last_word()}); all it said is in {child.log}")
                await asyncio.sleep(0.05)

    async def _restart_application(self) -> None:
        assert self.application is not None
        await self.application.start()
        await self._until_ready()

    async def _restart_simulators(self) -> None:
        """On the ports they had, because the application knows those."""
        assert self.simulators is not None
        command = list(self.simulators.command)
        for name, (option, _, _) in SIMULATORS.items():
            command[command.index(option) + 1] = self.simulator_urls[name].rpartition(":")[2]
        self.simulators.command = command
        await self.simulators.start()
        await self._simulators_ready(self.simulators)

    def child(self, name: str, module: str, *arguments: str, **settings: str) -> Child:
        """A module as a program of this hospital, not yet started; `settings` are its own."""
        command = [sys.executable, "-m", module, *arguments]
        env = {**self.env, "PYTHONUNBUFFERED": "1", **settings}
        return Child(name, command, folder=ROOT, log=self.folder.logs / f"{name}.log", env=env)


async def start_store(store: Embedded) -> None:
    """As `store.start`, also right after another process on the same folder was killed."""
    try:
        await store.start()
    except StartFailed as error:
        if "busy" not in str(error).lower():
            raise
        await asyncio.sleep(1)  # the store of a server that was just killed is still letting go of the folder
        await store.start()


def _ended(store: Embedded) -> Callable[[], Awaitable[object]]:
    """A wait that returns when the store has ended or has twice not stored a probe."""

    async def wait() -> object:
        failures = 0
        while failures < 2:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS):
                    return await store.wait()
            failures = 0 if await store.healthy() else failures + 1
        return "it stored nothing"

    return wait


async def _keep(name: str, ended: Callable[[], Awaitable[object]], restart: Callable[[], Awaitable[None]]) -> None:
    """Start a part again whenever it has ended; CannotStart when that happens too often."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    while True:
        why = await ended()
        times = [*(at for at in times if loop.time() - at < 60), loop.time()]
        print(f"{name} ended ({why}), starting it again", file=sys.stderr, flush=True)
        if len(times) > RESTARTS_A_MINUTE:
            raise CannotStart(f"{name} ended {len(times)} times within a minute")
        await restart()


@asynccontextmanager
async def _within(seconds: float, otherwise: str, child: Child) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise CannotStart(f"{otherwise} within {seconds:.0f} s; all it said is in {child.log}") from error


async def answers(port: int) -> bool:
    """Whether `/readyz` there says 200."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return status.split()[1:2] == [b"200"]


def _demo_mark() -> dict[str, str]:
    """What was loaded, and where to: as long as both are the same, a start need not look again."""
    files = sorted((ROOT / "scripts" / "demo").glob("*.*"))
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return {"content": content, "store": hashlib.sha256(os.environ.get("MONGO_URI", "").encode()).hexdigest()}


async def run(options: Options) -> int:
    """Start, serve until Ctrl-C or SIGTERM, stop in order; the exit status."""
    if not port_is_free(options.port):
        raise CannotStart(f"port {options.port} is taken by another program: name another with --port")
    folder = DataFolder.open(options.data_dir, fresh=options.fresh)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    launcher = Launcher(options, folder)
    try:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(_serve(launcher, options))
            await ended.wait()
            print(summary.STOPPING, flush=True)
            serving.cancel()
    finally:
        await launcher.stop()
        folder.close()
    print(summary.STOPPED, flush=True)
    return 0


async def _serve(launcher: Launcher, options: Options) -> None:
    await launcher.start()
    print(summary.text(launcher.url, launcher.simulator_urls, launcher.folder.path, demo=options.demo), flush=True)
    await launcher.supervise()


def read_options(arguments: Sequence[str]) -> Options:
    """The command line; CannotStart for what cannot be given yet."""
    parser = argparse.ArgumentParser(prog="scripts/server", description="A whole internet hospital on this machine.")
    parser.add_argument("--port", type=int, help=f"where it listens (else LISTEN_PORT, else {DEFAULT_PORT})")
    parser.add_argument("--data-dir", type=Path, default=ROOT / "var", help="what it keeps (default: var)")
    parser.add_argument("--fresh", action="store_true", help="empty the data folder first")
    parser.add_argument("--no-demo", action="store_true", help="without demonstration data")
    parser.add_argument(
        "--rtc-workers", type=int, default=DEFAULT_RTC_WORKERS, help="processes for calls; 0: no calls (default: 1)"
    )
    given = parser.parse_args(arguments)
    if not 0 <= given.rtc_workers <= MOST_RTC_WORKERS:
        raise CannotStart(f"--rtc-workers is a number from 0 to {MOST_RTC_WORKERS}, not {given.rtc_workers}")
    port = given.port if given.port is not None else int(os.environ.get("LISTEN_PORT", DEFAULT_PORT))
    if not 1 <= port <= 65535:
        raise CannotStart(f"--port is a number from 1 to 65535, not {port}")
    return Options(port, given.data_dir, given.fresh, not given.no_demo, given.rtc_workers)


def main(arguments: Sequence[str]) -> int:
    """Run it; what keeps it from running is one line on standard error and 1."""
    try:
        return asyncio.run(run(read_options(arguments)))
    except* (CannotStart, StartFailed) as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(f"scripts/server: {first}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
