"""Members who are not here: whoever is offline when another's message is stored is owed a notice.

The journal tells of every stored message and goes on; nothing here is on the way of an ack. A member with a socket in
this process costs a look into a dictionary. For the others one question goes to Redis for all that has gathered while
the last was on its way, and what is owed already is remembered until it is due.

What is lost when the process is killed in these milliseconds is found by `core.notices.jobs.find_missed`.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from core import tasks
from core.errors import AWAY

if TYPE_CHECKING:
    from core.ids import Clock
    from storage.bus import Bus, Envelope
    from storage.notices import Receiver

log = structlog.get_logger()

# At about 300 bytes each; beyond, the oldest are forgotten, which costs a read and a write.
REMEMBERED: Final = 20_000
# Another machine's clock may be so much ahead: it must not have begun to tell what we believe to be still owed.
CLOCKS_APART: Final = timedelta(seconds=1)

Place = tuple[str, str]  # conversation, account


class Owe(Protocol):
    """`core.notices.service.owe` in its context."""

    async def __call__(self, *, visit: str, account: str, receiver: "Receiver") -> datetime | None:
        """The time before which nothing is told."""


class AbsentMembers:
    """Of one process. `stored` is what the journal calls; `owe` is set once there is a context."""

    owe: Owe

    def __init__(self, bus: "Bus", clock: "Clock") -> None:
        self._bus = bus
        self._clock = clock
        self._waiting: dict[Place, Receiver] = {}
        self._owed: dict[Place, datetime] = {}
        self._running: asyncio.Task[None] | None = None

    def stored(self, told: "Iterable[Envelope]") -> None:
        """These messages are stored and have been pushed to whoever is here."""
        for envelope in told:
            sender = envelope["data"]["from"]
            if sender["role"] == "system":
                continue
            for account in envelope["to"]:
                if account != sender["account"] and not self._bus.holds(account):
                    place = (envelope["data"]["conversation"], account)
                    if not self._is_owed(place):
                        self._waiting[place] = "patient" if sender["role"] == "doctor" else "doctor"
        if self._waiting and (self._running is None or self._running.done()):
            self._running = tasks.spawn("chat.absent_members", self._owe_all())

    def _is_owed(self, place: Place) -> bool:
        until = self._owed.get(place)
        if until is None:
            return False
        if self._clock.now() < until:
            return True
        del self._owed[place]
        return False

    async def stop(self) -> None:
        """Returns when all that has gathered is owed; after the journal's own stop there is no more."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _owe_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            online = await self._bus.is_online({account for _, account in waiting})
            for place, receiver in waiting.items():
                if place[1] not in online:
                    await self._owe_one(place, receiver)

    async def _owe_one(self, place: Place, receiver: "Receiver") -> None:
        conversation, account = place
        try:
            due_at = await self.owe(visit=conversation, account=account, receiver=receiver)
        except AWAY as error:  # the search for the missed owes it
            log.warning("notice.not_owed", visit=conversation, error=type(error).__name__)
            return
        except Exception:
            log.exception("notice.not_owed", visit=conversation)
            return
        if due_at is not None:
            if len(self._owed) >= REMEMBERED:
                del self._owed[next(iter(self._owed))]
            self._owed.pop(place, None)
            self._owed[place] = due_at - CLOCKS_APART
