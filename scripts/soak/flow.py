"""How much is said in a run: who may say one more, how many have been acknowledged, and who waits for how many."""

import asyncio
import heapq
from itertools import count
from typing import Final

# So long without one acknowledgement, though all parts come back within seconds, means that the chat has stopped.
STUCK_SECONDS: Final = 90.0


class SoakFailed(Exception):
    """The run came to no verdict; the message is one line."""


class Flow:
    """Counts for all members of a run. It flows until `end`, and at least `messages` are said."""

    def __init__(self, messages: int) -> None:
        self._wanted = messages
        self._ended = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self.said = 0
        self.acked = 0

    @property
    def goes_on(self) -> bool:
        """Whether one more may be said."""
        return not self._ended or self.said < self._wanted

    @property
    def is_enough(self) -> bool:
        """Whether as many have been said as were wanted."""
        return self.said >= self._wanted

    def say(self) -> bool:
        """Whether the asker may say one more; it is counted then."""
        if not self.goes_on:
            return False
        self.said += 1
        return True

    def ack(self) -> None:
        """One more was acknowledged."""
        self.acked += 1
        while self._waiting and self._waiting[0][0] <= self.acked:
            self._wake(1)

    def _wake(self, first: int) -> None:
        for _ in range(first):
            _, _, waiting = heapq.heappop(self._waiting)
            if not waiting.done():
                waiting.set_result(None)

    async def more(self, messages: int) -> None:
        """Wait until so many more have been acknowledged, or no more are said. SoakFailed when nothing is for long."""
        wanted = self.acked + messages
        while self.acked < wanted and self.goes_on:
            before = self.acked
            waiting = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (wanted, next(self._order), waiting))
            try:
                await asyncio.wait_for(waiting, STUCK_SECONDS)
            except TimeoutError:
                if self.acked == before:
                    raise SoakFailed(f"nothing was acknowledged for {STUCK_SECONDS:.0f} s") from None

    def end(self, *, at_once: bool = False) -> None:
        """Say no more than is wanted; `at_once`, nothing more at all."""
        self._ended = True
        if at_once:
            self._wanted = self.said
        if not self.goes_on:
            self._wake(len(self._waiting))
