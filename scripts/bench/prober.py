"""Asks one address of the REST interface at a steady pace, whatever becomes of the answers."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Final

from scripts.processes import LOOPBACK

# A request that has no answer by then has failed.
ANSWER_SECONDS: Final = 5.0


@dataclass
class Asked:
    """What came of the requests of a stretch of time: seconds from when each was due, and the longest time without one.

    A failure is no connection, a status that is not 200, or no answer in time.
    """

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    longest_gap: float = 0.0


class Prober:
    """One connection, kept alive, and made anew when it is lost."""

    def __init__(self, port: int, path: str, token: str, *, per_second: float) -> None:
        self._port = port
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._pause = 1 / per_second
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asked = Asked()
        self._due = self._answered_at = time.perf_counter()

    def take(self) -> Asked:
        """What was asked since the last time this was called; what is late by then is let go of."""
        taken, self._asked = self._asked, Asked()
        now = time.perf_counter()
        taken.longest_gap = max(taken.longest_gap, now - self._answered_at)
        self._due = self._answered_at = now
        return taken

    async def run(self) -> None:
        """Until cancelled. Latency counts from when a request was due, so that a stall is not hidden by asking less."""
        self._due = time.perf_counter()
        try:
            while True:
                await asyncio.sleep(max(0.0, self._due - time.perf_counter()))
                due, self._due = self._due, self._due + self._pause
                await self._ask_once(due)
        finally:
            self._let_go()

    async def _ask_once(self, due: float) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                is_good = await self._ask()
        except (OSError, EOFError, TimeoutError, ValueError):
            is_good = False
            self._let_go()
        now = time.perf_counter()
        if not is_good:
            # Those that fell due meanwhile would have had no answer either.
            missed = max(0, int((now - self._due) / self._pause))
            self._asked.failures += 1 + missed
            self._due += missed * self._pause
            return
        self._asked.latencies.append(now - due)
        self._asked.longest_gap = max(self._asked.longest_gap, now - self._answered_at)
        self._answered_at = now

    async def _ask(self) -> bool:
        if self._connection is None:
            self._connection = await asyncio.open_connection(LOOPBACK, self._port)
        reader, writer = self._connection
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        return head.split(b" ", 2)[1] == b"200"

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection[1].close()
            self._connection = None
