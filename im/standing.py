"""Who takes part in a conversation and whether it may be spoken in, remembered for at most five seconds.

A visit that moves makes every process forget it (bus topic `visit.moved`). With the bus away nobody could tell us, so
each time is a read of the store.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import tasks
from core.errors import AWAY, NotFound

if TYPE_CHECKING:
    from storage.bus import Bus
    from storage.visits import Visit, VisitRepository

# The protocol lets a send that races with the end of a visit land for this long.
BELIEVED_SECONDS: Final = 5.0
# Each is believed shorter by a chance of its own: sixty conversations that were read again at once, because they had
# been read at once before, kept the embedded store from every other write for a tenth of a second.
SPREAD_SECONDS: Final = 2.5
# At about 400 bytes each; beyond, the oldest are forgotten.
REMEMBERED: Final = 20_000


@dataclass(slots=True)
class Standing:
    """A conversation's members by account with their roles, and the status of its visit when it was read.

    `read_at` is of the loop's clock, and never later than the reading.
    """

    members: dict[str, str]
    to: list[str]
    status: str
    read_at: float


def standing_of(visit: "Visit", read_at: float) -> Standing:
    """The standing that a visit gives its conversation."""
    members = {visit["patient_account"]: "patient", visit["doctor_id"]: "doctor"}
    return Standing(members, sorted(members), visit["status"], read_at)


class Standings:
    """The cache. Members never change; only the status grows old."""

    def __init__(self, visits: "VisitRepository", bus: "Bus") -> None:
        self._visits = visits
        self._bus = bus
        self._known: dict[str, Standing] = {}
        self._reading: dict[str, asyncio.Task[Standing | BaseException]] = {}
        bus.on("visit.moved", self._moved)

    def fresh(self, conversation: str) -> Standing | None:
        """What is remembered, when it may still be believed."""
        known = self._known.get(conversation)
        if known is None or not self._bus.available:
            return None
        return known if asyncio.get_running_loop().time() - known.read_at <= BELIEVED_SECONDS else None

    async def get(self, conversation: str) -> Standing:
        """The standing, read from the store unless it is fresh; callers who come meanwhile share one read.

        Raises NotFound when there is no such visit.
        """
        known = self.fresh(conversation)
        if known is not None:
            return known
        reading = self._reading.get(conversation)
        if reading is None:
            reading = tasks.spawn("chat.standing", self._read(conversation))
            self._reading[conversation] = reading
            reading.add_done_callback(lambda done: self._forget_reading(conversation, done))
        found = await asyncio.shield(reading)
        if isinstance(found, Standing):
            return found
        raise found

    async def members(self, conversation: str) -> list[str]:
        """The accounts that take part, however old the status; NotFound when there is no such visit."""
        known = self._known.get(conversation)
        return known.to if known is not None else (await self.get(conversation)).to

    async def _read(self, conversation: str) -> Standing | BaseException:
        """The standing, or the refusal for everybody who waits."""
        asked_at = asyncio.get_running_loop().time()
        try:
            visit: Any = await self._visits.get(conversation)
        except AWAY as error:
            return error
        if visit is None:
            return NotFound()
        standing = standing_of(visit, asked_at - random.uniform(0, SPREAD_SECONDS))  # noqa: S311 - spread, not secrecy
        # A move told while we read would have us remember what was before it.
        if self._reading.get(conversation) is asyncio.current_task():
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known.pop(conversation, None)
            self._known[conversation] = standing
        return standing

    def _forget_reading(self, conversation: str, done: "asyncio.Task[Any]") -> None:
        if self._reading.get(conversation) is done:
            del self._reading[conversation]

    def _moved(self, payload: dict[str, str]) -> None:
        conversation = payload["visit"]
        known = self._known.get(conversation)
        if known is not None:
            known.read_at = float("-inf")
        self._reading.pop(conversation, None)
