"""Where strangers' files are opened: a few child processes with little memory, little time and no secrets.

This side never decodes anything. A child that takes too long or dies is replaced, and the file it had is refused.
"""

import asyncio
import math
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core.children import environment
from core.media.frames import PREFIX_BYTES, Answer, Order, Unfit, length_of, pack, unpack
from core.policy import MIB

log = structlog.get_logger()

WAITING = Gauge("media_workshop_waiting", "Files waiting for a child of the workshop")
SECONDS = Histogram(
    "media_workshop_seconds", "Time of an examination without waiting, by type and outcome", ["type", "outcome"]
)
KILLED = Counter("media_workshop_killed_total", "Children of the workshop killed or found dead, by reason", ["why"])

# A child only spools what it gets and sends what it has: one that stops doing so has hung.
_PIPE_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 256 * 1024
# Decoders leak; a fresh child after so many files costs a fifth of a second.
_FILES_A_CHILD: Final = 200


def memory_for(pixels: int) -> int:
    """Address space that an image of so many pixels may need: measured 19 bytes a pixel (WebP) beside the programs."""
    return 384 * MIB + 22 * pixels


Keep = Callable[[bytes], Awaitable[None]]


class WorkshopFull(Exception):
    """More files wait than will be examined in good time, or the process is being stopped: to be tried again."""


@dataclass(frozen=True)
class Findings:
    """Facts of the cleaned file: pixels as shown, seconds (None: no video), a JPEG thumbnail; `child` did the work."""

    width: int
    height: int
    duration: float | None
    thumbnail: bytes
    child: int


class _Child:
    """One process. After anything but a clean answer it is not to be used again."""

    def __init__(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._asked, self._answers = process, process.stdin, process.stdout
        self._seconds = seconds
        self.files = 0

    @classmethod
    async def start(cls, memory_bytes: int, seconds: float) -> Self:
        """A new child; it makes itself ready while the first file is sent."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "core.media.probe",
            str(memory_bytes),
            str(math.ceil(seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(),
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is the parent's business
        )
        return cls(process, seconds)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def examine(self, order: Order, source: AsyncIterator[bytes], keep: Keep) -> Findings:
        """Raises `Unfit`; TimeoutError, EOFError or ConnectionError when the child failed; what the arguments raise."""
        self.files += 1
        self._asked.write(pack(order))
        async for piece in source:
            self._asked.write(piece)
            await asyncio.wait_for(self._asked.drain(), _PIPE_SECONDS)
        answer = await asyncio.wait_for(self._answer(), self._seconds)
        if answer["why"] is not None:
            raise Unfit(answer["why"], answer["error"])
        remaining = answer["size"]
        while remaining:
            piece = await asyncio.wait_for(self._answers.read(min(remaining, _PIECE_BYTES)), _PIPE_SECONDS)
            if not piece:
                raise EOFError("the child ended in the middle of a file")
            remaining -= len(piece)
            await keep(piece)
        thumbnail = await asyncio.wait_for(self._answers.readexactly(answer["thumbnail_size"]), _PIPE_SECONDS)
        return Findings(answer["width"], answer["height"], answer["duration"], thumbnail, self.pid)

    async def _answer(self) -> Answer:
        prefix = await self._answers.readexactly(PREFIX_BYTES)
        answer: Answer = unpack(await self._answers.readexactly(length_of(prefix)))
        return answer

    async def end(self) -> int:
        """Kill it and wait for its end; the exit code, negative for the signal that it died of."""
        if self.is_alive:
            self._process.kill()
        self._asked.close()
        return await self._process.wait()


class Workshop:
    """At most `concurrency` children, each with `memory_bytes` of address space and `seconds` for one file.

    A child is started when it is first needed. Beyond `queue` waiting files the next is refused (`WorkshopFull`).
    `memory_bytes` is `memory_for` the largest image that orders allow.
    """

    def __init__(
        self,
        *,
        concurrency: int = 2,
        memory_bytes: int = memory_for(50_000_000),
        seconds: float = 30.0,
        queue: int = 32,
    ) -> None:
        self._memory_bytes, self._seconds, self._queue = memory_bytes, seconds, queue
        self._places = asyncio.Semaphore(concurrency)
        self._idle: list[_Child] = []
        self._waiting = 0
        self._busy: set[_Child] = set()
        self._open = False

    @property
    def children(self) -> set[int]:
        """Process ids of the children alive."""
        return {child.pid for child in (*self._idle, *self._busy) if child.is_alive}

    async def start(self) -> None:
        """Take files from now on."""
        self._open = True

    async def stop(self) -> None:
        """Take no more; end every child. Files under examination fail with `WorkshopFull`."""
        self._open = False
        children = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(*(child.end() for child in children))

    async def examine(self, order: Order, source: AsyncIterator[bytes], keep: Keep) -> Findings:
        """Have a file cleaned: `source` gives its bytes, `keep` gets the cleaned ones in pieces.

        Raises `Unfit` for a file that is not kept, `too_demanding` also when its child had to be killed or died of it;
        `WorkshopFull`; and whatever `source` and `keep` raise.
        """
        if not self._open:
            raise RuntimeError("the workshop has not been started, or was stopped")
        if self._waiting >= self._queue:
            raise WorkshopFull
        self._waiting += 1
        WAITING.inc()
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            WAITING.dec()
        try:
            return await self._examine(order, source, keep)
        finally:
            self._places.release()

    async def _examine(self, order: Order, source: AsyncIterator[bytes], keep: Keep) -> Findings:
        child = await self._take()
        outcome, fit = "failed", False
        begun = asyncio.get_running_loop().time()
        try:
            findings = await child.examine(order, source, keep)
            outcome, fit = "kept", True
        except Unfit as unfit:
            outcome, fit = unfit.why, unfit.why != "too_demanding"
            log.info("media.refused", type=order["type"], size=order["size"], why=unfit.why, error=unfit.error)
            raise
        except (TimeoutError, EOFError, ConnectionError) as error:
            if not self._open:
                raise WorkshopFull from error
            outcome = "too_demanding"
            raise Unfit("too_demanding", type(error).__name__) from error
        finally:
            SECONDS.labels(order["type"], outcome).observe(asyncio.get_running_loop().time() - begun)
            self._busy.discard(child)
            if fit and self._open and child.files < _FILES_A_CHILD:
                self._idle.append(child)
            elif fit:
                await child.end()
            else:
                await self._bury(child, outcome)
        return findings

    async def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                break
            await self._bury(child, "died")
        else:
            child = await _Child.start(self._memory_bytes, self._seconds)
        self._busy.add(child)
        return child

    async def _bury(self, child: _Child, why: str) -> None:
        found_dead = not child.is_alive
        code = await child.end()
        KILLED.labels(why).inc()
        died_of = signal.Signals(-code).name if code < 0 else str(code)
        log.warning("media.child_replaced", child=child.pid, why=why, found_dead=found_dead, ended=died_of)
