"""The journal: every message of every chat is stored here, numbered without gaps, and then told to the members.

Group commit. One flusher writes what has gathered while the last write was on its way, at most one message of a
conversation at a time: a number is taken only after the one below is stored by a majority, so there are no gaps, no
inversions and no counter. A conversation whose next number is not known (a cold start, another process was faster, a
write whose outcome nobody knows) is looked up beside the flusher, which goes on without it.

Nothing is acknowledged before its write has returned. An unknown outcome is settled by sending the same key again.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from core import tasks
from core.errors import AWAY, Conflict, ServiceUnavailable
from core.ports import Posted
from im import metrics
from im.entries import SYSTEM, Entry, document, is_same_said, posted, seal, shown, system_key
from im.marks import Marks
from im.standing import Standings
from storage.messages import Outcome

if TYPE_CHECKING:
    from core.ids import Clock
    from core.policy import Policy
    from storage.bus import Bus, Envelope
    from storage.conversations import ConversationRepository
    from storage.encryption import FieldCipher
    from storage.messages import Message, MessageRepository
    from storage.visits import VisitRepository

log = structlog.get_logger()

# Measured on the embedded store: a batch of 200 takes under 40 ms, and larger ones gain nothing.
BATCH: Final = 200
# About 15 s of work at the embedded store's pace, 10 MB of texts.
QUEUE: Final = 20_000
# How long a sender waits for a store that does not answer before the refusal. Longer than one write may take.
PATIENCE_SECONDS: Final = 12.0
STOP_SECONDS: Final = 15.0
# Numbers remembered of conversations, about 250 bytes each; beyond, those of quiet ones are forgotten.
REMEMBERED: Final = 20_000
# Conversations that look their number up at the same time.
LOOK_UPS: Final = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0


class Lane:
    """One conversation: who waits, the last number known to be stored, and whether it is being looked up."""

    __slots__ = ("busy", "conversation", "last", "tries", "waiting")

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.waiting: list[Entry] = []
        self.last: int | None = None
        self.busy = False
        self.tries = 0  # writes and reads in a row that did not store its first message


class Journal:
    """Fulfils `core.ports.Journal`; `post` is the door for people's messages. Start it inside the running loop."""

    def __init__(
        self,
        messages: "MessageRepository",
        conversations: "ConversationRepository",
        visits: "VisitRepository",
        bus: "Bus",
        cipher: "FieldCipher",
        clock: "Clock",
        policy: "Policy",
    ) -> None:
        self.standings = Standings(visits, bus)
        self.marks = Marks(conversations)
        self._messages = messages
        self._conversations = conversations
        self._bus = bus
        self._cipher = cipher
        self._clock = clock
        self._policy = policy
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._depth = 0
        self._stopping = False
        self._flusher: asyncio.Task[None] | None = None
        self._looking = asyncio.Semaphore(LOOK_UPS)
        self._away = False
        self._probing: Lane | None = None
        self.on_stored: Callable[[Sequence[Envelope]], None] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self._flusher = tasks.spawn("chat.journal", self._run())

    async def stop(self) -> None:
        """Refuse new messages, store those that wait as far as the store answers, and write the marks."""
        self._stopping = True
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.error("journal.stopped_with_waiting", waiting=self._depth)
        await tasks.stop(self._flusher)
        await self.marks.stop()

    # --- the doors ---------------------------------------------------------------------------------------------------

    async def append(
        self, conversation: str, *, kind: Literal["system", "card"], body: Mapping[str, Any], cause: str
    ) -> Posted:
        """Store one message of the hospital's and tell the members; once for each cause, in any state of the visit.

        Raises NotFound when there is no such visit, ServiceUnavailable when it is not known to be stored: ask again.
        """
        key = system_key(conversation, cause)
        to = await self.standings.members(conversation)
        return await self.post(
            key=key, conversation=conversation, account=SYSTEM, role=SYSTEM, kind=kind, body=body, to=to
        )

    def post(
        self,
        *,
        key: str,
        conversation: str,
        account: str,
        role: str,
        kind: str,
        body: Mapping[str, Any],
        to: list[str],
    ) -> "asyncio.Future[Posted]":
        """Take a message in; messages of a conversation are stored in the order in which they were taken.

        The future is done when the message is durable. It raises `idempotency_conflict` when the key stands for
        another body, ServiceUnavailable when the outcome is not known. Raises `overloaded` when too many wait.
        """
        if self._stopping:
            raise ServiceUnavailable(retry_after=1)
        if self._depth >= QUEUE:
            raise ServiceUnavailable(code="overloaded", retry_after=random.uniform(1, 5))  # noqa: S311 - spread, not secrecy
        loop = asyncio.get_running_loop()
        sealed = seal(self._cipher, body)
        entry = Entry(key, conversation, account, role, kind, body, sealed, to, loop.create_future(), loop.time())
        lane = self._lane(conversation)
        lane.waiting.append(entry)
        self._depth += 1
        self._idle.clear()
        if len(lane.waiting) == 1 and not lane.busy:
            self._make_ready(lane)
        return entry.future

    def learn(self, conversation: str, seq: int) -> None:
        """Another process has stored this number: it told so after a majority had it. Saves us from asking for it."""
        lane = self._lane(conversation)
        if not lane.busy and seq > (lane.last or 0):
            lane.last = seq

    async def last_seq(self, conversation: str) -> int:
        """The highest number stored, read from the store."""
        last = await self._messages.last_seq(conversation, self._lane(conversation).last)
        self.learn(conversation, last)
        return last

    def known_seq(self, conversation: str) -> int:
        """A number surely stored, 0 when nothing is remembered."""
        lane = self._lanes.get(conversation)
        return (lane.last or 0) if lane is not None else 0

    # --- the flusher -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            if not batch:
                self._wake.clear()
                continue
            await self._flush(batch)

    def _lane(self, conversation: str) -> Lane:
        lane = self._lanes.get(conversation)
        if lane is None:
            if len(self._lanes) >= REMEMBERED:
                self._forget_quiet()
            lane = self._lanes[conversation] = Lane(conversation)
        return lane

    def _forget_quiet(self) -> None:
        quiet = [name for name, lane in self._lanes.items() if not lane.waiting and not lane.busy]
        for name in quiet[: max(1, len(quiet) // 2)]:
            del self._lanes[name]

    def _make_ready(self, lane: Lane) -> None:
        self._ready.append(lane)
        self._wake.set()

    def _take(self) -> list[Lane]:
        """The lanes whose first message goes into the next flush; those that are cold are looked up beside it."""
        batch: list[Lane] = []
        while self._ready and len(batch) < BATCH:
            lane = self._ready.popleft()
            lane.busy = True
            if lane.last is None:
                tasks.spawn("chat.look_up", self._look_up(lane))
            else:
                batch.append(lane)
        return batch

    async def _flush(self, batch: list[Lane]) -> None:
        """One write; afterwards every lane of it is free, or being looked up."""
        at = self._clock.now()
        years = self._policy.retain_chat_years
        documents = [self._numbered(lane, at, years) for lane in batch]
        try:
            outcomes = await self._messages.add(documents)
        except AWAY as error:
            log.warning("journal.store_away", messages=len(batch), error=type(error).__name__)
            outcomes = [Outcome.UNKNOWN] * len(batch)
        except Exception:
            # The journal must live on; what became of these is as unknown as after a lost link.
            log.exception("journal.write_failed", messages=len(batch))
            outcomes = [Outcome.UNKNOWN] * len(batch)
        metrics.BATCH.observe(len(batch))
        metrics.WAIT.observe(asyncio.get_running_loop().time() - min(lane.waiting[0].queued_at for lane in batch))
        stored: list[Envelope] = []
        for lane, written, outcome in zip(batch, documents, outcomes, strict=True):
            if outcome is Outcome.STORED:
                stored.append(self._stored(lane, written))
            else:
                metrics.RETRIES.labels(outcome.value).inc()
                tasks.spawn("chat.settle", self._settle(lane, outcome))
        # One turn of the loop, in which the senders' acks are written: an ack comes before its own push.
        await asyncio.sleep(0)
        await self._tell(stored)

    async def _tell(self, stored: "Sequence[Envelope]") -> None:
        """Push to who is here; who is not is left to `on_stored`, which does not wait for anything."""
        await self._bus.publish(stored)
        if self.on_stored is not None and stored:
            self.on_stored(stored)

    def _numbered(self, lane: Lane, at: datetime, years: int) -> "Message":
        """The lane's first message under the next number; a try of which nobody knows is repeated with its time."""
        entry = lane.waiting[0]
        entry.tried_at = entry.tried_at or at
        return document(entry, (lane.last or 0) + 1, entry.tried_at, years)

    def _stored(self, lane: Lane, written: "Message") -> "Envelope":
        entry = lane.waiting[0]
        lane.last = written["seq"]
        lane.tries = 0
        self.marks.stored(lane.conversation, lane.last)
        self._resolve(lane, posted(written, dup=False))
        self._free(lane)
        return {"to": entry.to, "ev": "message.created", "data": shown(written, entry.body)}

    def _resolve(self, lane: Lane, outcome: Posted | Exception) -> None:
        """End the wait of the lane's first message."""
        entry = lane.waiting.pop(0)
        self._depth -= 1
        metrics.QUEUE.set(self._depth)
        if not self._depth:
            self._idle.set()
        if entry.future.done():  # its sender has stopped waiting
            return
        if isinstance(outcome, Posted):
            (metrics.ACKS_AGAIN if outcome.dup else metrics.ACKS_FIRST).inc()
            entry.future.set_result(outcome)
        else:
            entry.future.set_exception(outcome)

    def _free(self, lane: Lane) -> None:
        lane.busy = False
        if lane.waiting:
            self._make_ready(lane)

    # --- beside the flusher: one conversation whose next number is not known ------------------------------------------

    async def _look_up(self, lane: Lane) -> None:
        """Find a conversation's last number, from the known one or its late mark upwards."""
        await self._until_done(lane, self._read_up)

    async def _settle(self, lane: Lane, outcome: Outcome) -> None:
        """After a write that did not store the lane's first message, or of which nobody knows."""
        if outcome is Outcome.UNKNOWN:
            lane.last = None
            lane.waiting[0].is_unsure = True
        lane.tries += 1
        if outcome is Outcome.REPEATED:
            await self._until_done(lane, self._answer_repeat)
            return
        if lane.tries > 1:
            await asyncio.sleep(_pause(lane.tries))
        await self._until_done(lane, self._read_up)

    async def _until_done(self, lane: Lane, step: Callable[[Lane], Awaitable[bool]]) -> None:
        """Repeat a step until it is done or nobody waits any more; then the flusher may have the lane again.

        With the store away one lane asks for all: the others do not queue for answers that do not come.
        """
        while True:
            self._refuse_impatient(lane)
            if not lane.waiting:
                break
            if not self._away or self._probing is None:
                try:
                    if await self._attempt(lane, step):
                        break
                except Exception:
                    log.exception("journal.settle_failed", conversation=lane.conversation)
                    lane.last = None
            lane.tries += 1
            await asyncio.sleep(_pause(lane.tries))
        self._free(lane)

    async def _attempt(self, lane: Lane, step: Callable[[Lane], Awaitable[bool]]) -> bool:
        async with self._looking:
            self._probing = lane
            try:
                done = await step(lane)
                self._away = False
            except AWAY as error:
                if not self._away:
                    log.warning("journal.store_unread", error=type(error).__name__)
                self._away = True
                lane.last = None
                return False
            finally:
                if self._probing is lane:
                    self._probing = None
        return done

    async def _read_up(self, lane: Lane) -> bool:
        lane.last = await self._messages.last_seq(lane.conversation, lane.last)
        return True

    async def _answer_repeat(self, lane: Lane) -> bool:
        """Answer as the first time. Not yet seen by a majority: False, a number that may vanish is not told."""
        entry = lane.waiting[0]
        stored = await self._messages.get(entry.id)
        if stored is None:
            return False
        lane.tries = 0
        if not is_same_said(stored, entry.kind, entry.body, self._cipher):
            self._resolve(lane, Conflict(code="idempotency_conflict"))
            return True
        # Stored by our own earlier try, of which no answer came: for its sender this is the first time.
        is_ours = entry.is_unsure and stored["at"] == entry.tried_at
        self._resolve(lane, posted(stored, dup=not is_ours))
        if stored["recalled_at"] is None:
            # The process that stored it may have died before it told anybody.
            event: Envelope = {"to": entry.to, "ev": "message.created", "data": shown(stored, entry.body)}
            await self._tell([event])
        return True

    def _refuse_impatient(self, lane: Lane) -> None:
        """Those who have waited too long are told that nothing is known; their repeat will find what is stored."""
        now = asyncio.get_running_loop().time()
        while lane.waiting and now - lane.waiting[0].queued_at > PATIENCE_SECONDS:
            self._resolve(lane, ServiceUnavailable())


def _pause(tries: int) -> float:
    longest = min(_FIRST_PAUSE * 2 ** min(tries, 10), _LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spread, not secrecy
