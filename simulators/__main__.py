"""Run the simulators: `python -m simulators --state-dir DIR --keys-dir DIR [--only NAME …] [--wechat-pay-port N] …`.

Each listens on 127.0.0.1 and prints `ready NAME http://127.0.0.1:PORT` when it answers; port 0 takes a free one. Ends
with 0 on SIGTERM or SIGINT; a port that is taken is one line on standard error and 1.
"""

import argparse
import asyncio
import importlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Simulator:
    """One row of the table: the package, the option that sets its port, and the port it has without."""

    name: str
    option: str
    default_port: int


SIMULATORS = (
    Simulator("wechat_pay", "--wechat-pay-port", 9301),
    Simulator("wechat_login", "--wechat-port", 9302),
    Simulator("sms", "--sms-port", 9303),
    Simulator("identity", "--identity-port", 9304),
)


@dataclass
class Running:
    """A simulator that answers."""

    application: Application
    server: HTTPServer
    port: int

    async def stop(self) -> None:
        """Close the door, cut who is still inside, and let the application put its things away."""
        self.server.stop()
        await self.server.close_all_connections()
        stop = self.application.settings.get("stop")
        if stop is not None:
            await stop()


class PortTaken(Exception):
    """The port of a simulator cannot be listened on."""


def start(name: str, port: int, state_dir: Path, keys_dir: Path) -> Running:
    """Bring one simulator up, on the loop that is running. A port that cannot be had: `PortTaken`."""
    try:
        sockets = bind_sockets(port, HOST)
    except OSError as failure:
        raise PortTaken(f"simulators: {name} cannot listen on {HOST}:{port}: {failure.strerror}") from failure
    # The socket queues callers from here on, but nobody is answered before the application and its keys exist.
    application: Application = importlib.import_module(f"simulators.{name}").make_app(state_dir, keys_dir)
    server = HTTPServer(application)
    server.add_sockets(sockets)
    return Running(application, server, sockets[0].getsockname()[1])


async def run(chosen: Sequence[tuple[str, int]], state_dir: Path, keys_dir: Path) -> int:
    """Serve until a signal comes; answers the exit status."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    running: list[Running] = []
    try:
        for name, port in chosen:
            running.append(start(name, port, state_dir, keys_dir))
            print(f"ready {name} http://{HOST}:{running[-1].port}", flush=True)
        await ended.wait()
    except PortTaken as failure:
        print(failure, file=sys.stderr, flush=True)
        return 1
    finally:
        for each in reversed(running):
            await each.stop()
    return 0


def main(arguments: Sequence[str]) -> int:
    """Read the command line, make the two folders, and serve."""
    parser = argparse.ArgumentParser(prog="python -m simulators", description="The outside systems, simulated.")
    parser.add_argument("--state-dir", type=Path, required=True, help="what the simulators remember")
    parser.add_argument("--keys-dir", type=Path, required=True, help="keys and account numbers the hospital reads")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in SIMULATORS], help="run these and no others")
    for each in SIMULATORS:
        parser.add_argument(each.option, type=int, default=each.default_port, dest=each.name, metavar="PORT")
    options = parser.parse_args(arguments)
    for folder in (options.state_dir, options.keys_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = options.only or [each.name for each in SIMULATORS]
    chosen = [(name, getattr(options, name)) for name in names]
    return asyncio.run(run(chosen, options.state_dir, options.keys_dir))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
