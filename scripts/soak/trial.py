"""One run: a hospital of separate processes, members who say all the time, blows that fall on every part, a verdict.

What falls when is drawn from one seed. How things interleave is the machine's, so that a seed makes a run alike, not
the same.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Final

import httpx

from core import tasks
from scripts.processes import LOOPBACK
from scripts.roles import Roles, load_accounts, open_roles
from scripts.soak.flow import Flow, SoakFailed
from scripts.soak.member import Member, Seat
from scripts.soak.reader import Reader
from scripts.soak.verdict import Told, Verdict, judge, place_of
from storage.messages import MessageRepository
from storage.mongo import Store

PROCESSES: Final = {"im-1": "im", "im-2": "im", "api": "api", "worker": "worker"}
# Limits that people feel and a run would only measure.
SETTINGS: Final = {
    "SOCKET_MESSAGES_PER_MINUTE": "1000000",
    "SOCKET_FRAMES_PER_SECOND": "1000000",
    "LOG_LEVEL": "warning",
}
# A part stays dead for at most so long before it is started; it is away for longer, until it is ready.
_DEAD_SECONDS: Final = 0.5
# Parts that may be dead at the same time; all the others live and are talked to.
_DEAD_AT_ONCE: Final = 2
_CUT_AFTER: Final = (5, 60)
# For what is left to be done when nothing new is said: acks of what is under way, and catching up, each.
_SETTLE_SECONDS: Final = 180.0
_WINDOW: Final = 500


@dataclass(frozen=True)
class Course:
    """What a run is to do: at least so many messages, every part killed at least `rounds` times, all from one seed.

    Between two blows `calm` messages are acknowledged. After `seconds` nothing new is said, whatever is missing.
    """

    seed: int
    messages: int = 0
    rounds: int = 2
    conversations: int = 2
    calm: int = 60
    seconds: float = 3_600.0


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    verdict: Verdict
    messages: int
    faults: list[str]
    counted: dict[str, int]
    kills: dict[str, int]
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.is_clean and not self.faults


class Trial:
    """The members and the blows of one run in one hospital."""

    def __init__(self, course: Course, roles: Roles, seats: Sequence[Seat], http: httpx.AsyncClient) -> None:
        self._course = course
        self._roles = roles
        self._chance = random.Random(course.seed)  # noqa: S311 - a run is repeated from it
        self.flow = Flow(course.messages)
        self._sockets = [roles.ports[name] for name, role in PROCESSES.items() if role == "im"]
        self.members = [Member(seat, self._sockets, self.flow, self._fork()) for seat in seats]
        firsts = {member.seat.conversation: member.seat for member in reversed(self.members)}
        url = f"http://{LOOPBACK}:{roles.ports['api']}"
        self.readers = [Reader(seat, http, url, self._fork()) for seat in firsts.values()]
        self._places = asyncio.Semaphore(_DEAD_AT_ONCE)
        self._locks = {name: asyncio.Lock() for name in roles.names}
        self.kills: Counter[str] = Counter()
        self.cuts = 0

    def _fork(self) -> random.Random:
        return random.Random(self._chance.random())  # noqa: S311 - as above

    async def run(self) -> Outcome:
        """Until all that was said is acknowledged and everybody has caught up; SoakFailed when that does not come."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = loop.call_later(self._course.seconds, self._give_over)
        living = [tasks.spawn("soak.member", member.run()) for member in self.members]
        reading = [tasks.spawn("soak.reader", reader.run()) for reader in self.readers]
        cutting = tasks.spawn("soak.cuts", self._cut())
        try:
            await self._strike()
            self.flow.end()
            await self._in_time(self._settled(), "members did not get all of theirs acknowledged")
            await tasks.stop(cutting, *reading)
            await self._in_time(self._catch_up(), "members did not catch up")
            await self._in_time(self._read_up(), "readers did not catch up")
            verdict = await self._judge()
        finally:
            deadline.cancel()
            for member in self.members:
                member.leave()
            await tasks.stop(cutting, *reading, *living)
        return self._outcome(verdict, loop.time() - began)

    def _give_over(self) -> None:
        self.flow.end(at_once=True)

    async def _in_time(self, work: Awaitable[Any], otherwise: str) -> None:
        try:
            await asyncio.wait_for(work, _SETTLE_SECONDS)
        except TimeoutError:
            missing = self.flow.said - self.flow.acked
            raise SoakFailed(f"{otherwise}; {missing} of {self.flow.said} have no ack") from None

    # --- the blows ---------------------------------------------------------------------------------------------------

    async def _strike(self) -> None:
        """Every part in a new order, round after round, while the members talk; on return all are alive."""
        async with asyncio.TaskGroup() as falling:
            for name in self._victims():
                await self.flow.more(self._chance.randint(1, self._course.calm))
                await self._places.acquire()
                falling.create_task(self._fell(name, dead_seconds=self._chance.uniform(0, _DEAD_SECONDS)))

    def _victims(self) -> Iterator[str]:
        names = self._roles.names
        for done in count():
            for name in self._chance.sample(names, len(names)):
                if done >= self._course.rounds and (self.flow.is_enough or not self.flow.goes_on):
                    return
                yield name

    async def _fell(self, name: str, dead_seconds: float) -> None:
        try:
            async with self._locks[name]:
                await self._roles.kill(name)
                self.kills[name] += 1
                await asyncio.sleep(dead_seconds)
                await self._roles.revive(name)
        finally:
            self._places.release()

    async def _cut(self) -> None:
        while self.flow.goes_on:
            await self.flow.more(self._chance.randint(*_CUT_AFTER))
            self.cuts += self._chance.choice(self.members).cut()

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _settled(self) -> None:
        for member in self.members:
            member.nudge()
            await member.settled.wait()

    async def _catch_up(self) -> None:
        await asyncio.gather(*(member.catch_up() for member in self.members))

    async def _read_up(self) -> None:
        for reader in self.readers:
            while not await reader.look():  # noqa: ASYNC110 - the API tells nobody that it is back
                await asyncio.sleep(0.1)

    async def _judge(self) -> Verdict:
        """Beside those who were there, one who comes when all is over hears everything from the first message on."""
        verdict = Verdict()
        store = await Store.open(self._roles.env["MONGO_URI"], self._roles.database)
        try:
            for reader in self.readers:
                there = [one for one in self.members if one.seat.conversation == reader.seat.conversation]
                stored = await stored_in(MessageRepository(store), reader.seat)
                newcomer = await self._newcomer(reader.seat)
                told: dict[int, Told] = {member.seat.number: member.told for member in there}
                listeners: list[Member | Reader] = [*there, reader, newcomer]
                verdict += judge(stored, told, [one.heard for one in listeners])
        finally:
            await store.close()
        return verdict

    async def _newcomer(self, seat: Seat) -> Member:
        """A second device of a member, which has heard nothing yet, and has now."""
        silent = Flow(0)
        silent.end()
        late = Member(seat.on("late"), self._sockets, silent, self._fork())
        living = tasks.spawn("soak.newcomer", late.run())
        try:
            await asyncio.wait_for(late.settled.wait(), _SETTLE_SECONDS)
        except TimeoutError:
            raise SoakFailed("a newcomer did not catch up") from None
        finally:
            late.leave()
            await tasks.stop(living)
        return late

    def _outcome(self, verdict: Verdict, seconds: float) -> Outcome:
        listeners: list[Member | Reader] = [*self.members, *self.readers]
        counted = sum((listener.counted for listener in listeners), Counter[str]())
        return Outcome(
            verdict,
            self.flow.acked,
            list(chain.from_iterable(listener.faults for listener in listeners)),
            {"cut": self.cuts, **dict(sorted(counted.items()))},
            dict(sorted(self.kills.items())),
            seconds,
        )


async def stored_in(messages: MessageRepository, seat: Seat) -> list[tuple[int, int]]:
    """(seq, place) of the conversation's messages, read past every service straight from the store."""
    found: list[tuple[int, int]] = []
    last = await messages.last_seq(seat.conversation)
    for after in range(0, last, _WINDOW):
        for message in await messages.between(seat.conversation, after, after + _WINDOW):
            request = message["_id"].rpartition("/")[2]
            found.append((message["seq"], place_of(seat.senders[message["account"]], int(request[1:]))))
    return found


def seats_of(lines: Sequence[dict[str, str]]) -> list[Seat]:
    """A seat for each line of `scripts/seed load` with as many doctors as patients: one conversation each."""
    senders = {line["account"]: number for number, line in enumerate(lines)}
    return [
        Seat(
            senders[line["account"]],
            line["token"],
            line["device"],
            line["conversation"],
            {account: senders[account] for account in (line["account"], line["peer"])},
        )
        for line in lines
    ]


async def run(course: Course, tell: Callable[[str], None] = lambda said: None) -> Outcome:
    """A whole run. SoakFailed, CannotStart or StartFailed when it came to no verdict."""
    async with AsyncExitStack() as stack:
        roles = await stack.enter_async_context(open_roles(PROCESSES, **SETTINGS))
        seats = seats_of(await load_accounts(roles.env, patients=course.conversations, doctors=course.conversations))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=20))
        trial = Trial(course, roles, seats, http)
        telling = tasks.spawn("soak.tell", _tell_often(trial, tell))
        try:
            return await trial.run()
        finally:
            await tasks.stop(telling)


async def _tell_often(trial: Trial, tell: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(10)
        tell(f"{trial.flow.acked} acknowledged, {sum(trial.kills.values())} kills, {trial.cuts} cuts")
