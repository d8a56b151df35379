"""Many clients with a socket each, a process of their own: whoever is thrown out comes back by the client's rules.

Reads where to go and who they are as JSON on standard input. Prints one JSON line whenever all of them are in: how many
times they were turned away as too many (4013) and tried in vain since the line before. Ends with its parent.
"""

import asyncio
import json
import random
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from core import tasks
from scripts.bench.client import Client, LoadFailed, Seat
from scripts.returning import LONGEST_SECONDS, OVERLOADED, pause_before

# A hello that is not answered by then is given up, as a person's program would.
HELLO_SECONDS: Final = 20.0
# How many come in a second at first: what they meet then is no storm.
ARRIVALS_PER_SECOND: Final = 200.0


@dataclass(frozen=True)
class Guests:
    """Who comes where. `longest` bounds the pause between two tries, in seconds."""

    host: str
    port: int
    seats: list[Seat]
    longest: float = LONGEST_SECONDS

    def to_json(self) -> str:
        """As standard input takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Guests":
        """The reverse of `to_json`."""
        given = json.loads(text)
        return cls(**{**given, "seats": [Seat(**seat) for seat in given["seats"]]})


class Crowd:
    """`run` for ever; `tell` is called with the counts each time everybody is in."""

    def __init__(self, guests: Guests, tell: Callable[[dict[str, int]], None], chance: random.Random) -> None:
        self._guests = guests
        self._tell = tell
        self._chance = chance
        self._inside = 0
        self._shed = 0
        self._in_vain = 0

    async def run(self) -> None:
        """Everybody comes, and comes back."""
        coming = len(self._guests.seats) / ARRIVALS_PER_SECOND
        await asyncio.gather(
            *(
                tasks.spawn("crowd.guest", self._come_and_go(seat, self._chance.uniform(0, coming)))
                for seat in self._guests.seats
            )
        )

    async def _come_and_go(self, seat: Seat, after: float) -> None:
        await asyncio.sleep(after)
        tries = 0
        while True:
            came_in, code, reason = await self._stay(Client(seat))
            tries = 0 if came_in else tries + 1
            await asyncio.sleep(pause_before(tries, code, reason, self._chance, longest=self._guests.longest))

    async def _stay(self, client: Client) -> tuple[bool, int | None, str]:
        """One connection to its end: whether it was let in, and how it ended."""
        try:
            if await self._enter(client):
                self._entered()
                ended = await client.ended()
                self._inside -= 1
                return True, *ended
            client.drop()
            code, reason = await client.ended()
        finally:
            client.drop()
        self._in_vain += 1
        self._shed += code == OVERLOADED
        return False, code, reason

    async def _enter(self, client: Client) -> bool:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await client.enter(self._guests.host, self._guests.port)
        except (LoadFailed, OSError, TimeoutError):
            return False
        return True

    def _entered(self) -> None:
        self._inside += 1
        if self._inside == len(self._guests.seats):
            self._tell({"shed": self._shed, "in_vain": self._in_vain})
            self._shed = self._in_vain = 0


def main() -> int:
    """Until it is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    guests = Guests.from_json(sys.stdin.read())
    chance = random.Random()  # noqa: S311 - spread, not secrecy
    uvloop.run(Crowd(guests, lambda counts: print(json.dumps(counts), flush=True), chance).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
