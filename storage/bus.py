"""What processes tell each other, over Redis: events for people's sockets, control for every process, questions to one.

Nothing here is kept: whoever misses an event asks the store (`sync`), whoever misses control has caches that end by
themselves. So `publish` never raises and never waits: it delivers to this process's sockets at once and leaves the rest
to one flusher. While a flush is on its way the next one gathers, and each sends at most one message to a process.

Alone. A process that begins to listen says so and is answered by all that listen already, before anybody learns that a
socket of an account is here. So each knows of every other, and a process that is alone asks Redis nothing for its
events. Whose channel nobody listens to any more is forgotten at the next heartbeat.

Presence. `<prefix>:presence:{account}` is a set of the processes that hold a socket of the account;
`<prefix>:alive:{process}` is kept fresh by a heartbeat. The flusher writes presence too, from what is held at that
moment and not from a list of changes, so that a quick leave and return cannot end as absent. A process that died is
noticed by a PUBLISH nobody received, and is taken out; sets that nobody renews expire.

Redis away: `available` turns false, events for other processes are counted and dropped, one warning tells. A listener
of its own tries again with growing pauses; once back it announces all presence anew. Local handlers of
`AWAY` and `BACK` are told.
"""

import asyncio
import contextlib
import json
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypedDict

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from storage.ending import end
from storage.redis import BUS_AWAY, Redis

log = structlog.get_logger()

AVAILABLE = Gauge("bus_available", "1 while this process hears and is heard over Redis")
OUTAGES = Counter("bus_outages_total", "Times the link to Redis was found away")
DROPPED = Counter("bus_events_dropped_total", "Events for other processes that were dropped: Redis away, or too many")

# Control topics delivered in this process only: the link is away; it is back, and what was said meanwhile is lost.
AWAY = "bus.away"
BACK = "bus.back"

_BEAT_SECONDS = 2.0
_ALIVE_SECONDS = 10  # five beats
_MEETING_SECONDS = 1.0  # how long a process that begins waits for the others' answers; a stalled one is not waited for
_SILENCE_SECONDS = 3 * _BEAT_SECONDS  # we hear our own beat; three missed mean the subscription is dead
_PRESENCE_SECONDS = 600
_RENEW_SECONDS = 200  # 10,000 sockets make 100 renewals a beat
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
# Bounds what one flush holds and what one message weighs; at 300 bytes an event, 150 kB.
_FLUSH_EVENTS = 500
# Beyond it events are dropped and counted like in an outage: the members catch up by `sync`.
_QUEUE_EVENTS = 20_000
# Any answer of Redis' that is an error counts as away: a replica that only reads, a server out of memory.
_GONE: tuple[type[BaseException], ...] = (*BUS_AWAY, RedisError, OSError)


class Envelope(TypedDict):
    """One event for all sockets of some accounts; `data` holds JSON values only."""

    to: list[str]
    ev: str
    data: dict[str, Any]


class ProcessGone(Exception):
    """The process asked is not listening: it ended, or has lost its own link."""


class RequestFailed(Exception):
    """The process asked answered that its handler failed; it has logged why."""


Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Told = Callable[[Any], Awaitable[None] | None]


class Bus:
    """One process's end of the bus; `process` is its own name, new at each start. Start it inside the running loop."""

    def __init__(self, redis: Redis, process: str, *, prefix: str = "bus") -> None:
        self.process = process
        self.available = False
        self.on_events: Callable[[list[Envelope]], None] | None = None
        self._redis = redis
        self._prefix = prefix
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: list[asyncio.Task[Any]] = []
        self._others: dict[str, float] = {}  # the processes that listen → when last heard of (loop time)
        self._held: dict[str, float] = {}  # account → when last announced (loop time), oldest first
        self._changed: set[str] = set()
        self._events: list[Envelope] = []
        self._control: list[tuple[str, Any]] = []
        self._wake = asyncio.Event()
        self._flushed: asyncio.Future[None] | None = None  # of the flush that is gathering now
        self._dropped = 0
        self._told: dict[str, list[Told]] = defaultdict(list)
        self._served: dict[str, Handler] = {}
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._subscribed = asyncio.Event()
        self._link = asyncio.timeout(None)  # of the present subscription; brought to its end by `_lost`
        self._last_heard = 0.0

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when subscribed, or after two seconds without Redis: the bus then goes on trying by itself."""
        self._running = [
            self._spawn("bus.listen", self._listen()),
            self._spawn("bus.flush", self._flush_forever()),
            self._spawn("bus.beat", self._beat()),
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._subscribed.wait()

    async def stop(self) -> None:
        """Sends what waits, takes this process's presence back and lets go; the client stays the caller's."""
        self._changed.update(self._held)
        self._held.clear()
        if self.available:
            await self._next_flush()
        await end([*self._running, *self._tasks])
        if self.available:
            with contextlib.suppress(*_GONE):  # it expires by itself
                await self._redis.delete(self._alive_key(self.process))
        self.available = False

    def _spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - storage stands below core.tasks
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("bus.task_failed", task=task.get_name(), exc_info=error)

    # --- events ----------------------------------------------------------------------------------------------------

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Gives events to this process's sockets before it returns, and to the others' soon after, in this order.

        Never raises for Redis and does not wait for it; an event for others is lost while `available` is false.
        """
        local = [narrowed for envelope in envelopes if (narrowed := self._narrowed(envelope, self._held)) is not None]
        self._deliver(local)
        if not self.available or len(self._events) >= _QUEUE_EVENTS:
            if self.available and not self._dropped:
                log.warning("bus.overflow", waiting=len(self._events))
            self._drop(len(envelopes))
            return
        if self._others:
            self._events.extend(envelopes)
            self._wake.set()

    def _deliver(self, envelopes: list[Envelope]) -> None:
        if not envelopes or self.on_events is None:
            return
        try:
            self.on_events(envelopes)
        except Exception:
            log.exception("bus.delivery_failed", events=len(envelopes))

    @staticmethod
    def _narrowed(envelope: Envelope, accounts: Collection[str]) -> Envelope | None:
        to = [account for account in envelope["to"] if account in accounts]
        if len(to) == len(envelope["to"]):
            return envelope if to else None
        return Envelope(to=to, ev=envelope["ev"], data=envelope["data"]) if to else None

    # --- presence --------------------------------------------------------------------------------------------------

    async def present(self, account: str) -> None:
        """This process holds a socket of the account; on return others know, or Redis is away and will be told later.

        A socket that reads the store after this misses nothing: an event published before is in what it reads.
        """
        self._held.setdefault(account, 0.0)
        await self._announce(account)

    async def absent(self, account: str) -> None:
        """This process holds no socket of the account any more."""
        self._held.pop(account, None)
        await self._announce(account)

    async def _announce(self, account: str) -> None:
        self._changed.add(account)
        await self._next_flush()

    def holds(self, account: str) -> bool:
        """Whether this process holds a socket of the account: the answer that costs nothing."""
        return account in self._held

    async def is_online(self, accounts: Collection[str]) -> set[str]:
        """Those of the accounts that a live process holds a socket of; without Redis only those held here."""
        wanted = list(dict.fromkeys(accounts))
        online = {account for account in wanted if account in self._held}
        if not wanted or not self.available:
            return online
        try:
            holders = await self._holders(wanted)
            others = sorted({name for names in holders.values() for name in names} - {self.process})
            pipe = self._redis.pipeline(transaction=False)
            for name in others:
                pipe.exists(self._alive_key(name))
            alive = {name for name, found in zip(others, await pipe.execute() if others else [], strict=True) if found}
        except _GONE as error:
            self._lost(error)
            return online
        return online | {account for account, names in holders.items() if names & alive}

    async def _holders(self, accounts: Collection[str]) -> dict[str, set[str]]:
        pipe = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipe.smembers(self._presence_key(account))
        found = await pipe.execute()
        return {account: {name.decode() for name in names} for account, names in zip(accounts, found, strict=True)}

    # --- control ---------------------------------------------------------------------------------------------------

    def on(self, topic: str, told: Told) -> None:
        """`told(payload)` is called for each broadcast of the topic, whoever sent it; a coroutine runs as a task."""
        self._told[topic].append(told)

    async def broadcast(self, topic: str, payload: Any) -> None:
        """Tells this process's handlers now and once, and every other process; returns when Redis has it or is away."""
        self._tell(topic, payload)
        if self.available and self._others:
            self._control.append((topic, payload))
            await self._next_flush()

    def _tell(self, topic: str, payload: Any) -> None:
        for told in self._told.get(topic, ()):
            try:
                outcome = told(payload)
            except Exception:
                log.exception("bus.handler_failed", topic=topic)
                continue
            if outcome is not None:
                self._spawn(f"bus.on.{topic}", _awaited(outcome))

    # --- request and reply -----------------------------------------------------------------------------------------

    def serve(self, op: str, handler: Handler) -> None:
        """This process answers requests named `op` with what `handler(payload)` returns."""
        self._served[op] = handler

    async def request(self, process: str, op: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The named process's answer. The handler may have run whenever no answer comes.

        Raises ProcessGone (nobody listens), TimeoutError, RequestFailed (its handler raised), or one of `BUS_AWAY`.
        """
        async with asyncio.timeout(timeout_s):
            if process == self.process:
                return _opened(await self._answer(op, payload))
            number = secrets.token_hex(8)
            self._asked[number] = answer = asyncio.get_running_loop().create_future()
            try:
                question = {"t": "ask", "id": number, "from": self.process, "op": op, "payload": payload}
                if not await self._redis.publish(self._channel(process), _packed(question)):
                    raise ProcessGone(process)
                return _opened(await answer)
            finally:
                del self._asked[number]

    async def listening(self, processes: Collection[str]) -> set[str]:
        """Those of the processes whose channel somebody listens to; raises one of `BUS_AWAY`."""
        names = sorted(set(processes))
        found = await self._redis.pubsub_numsub(*map(self._channel, names)) if names else []
        return {name for name, (_, count) in zip(names, found, strict=True) if count}

    async def _answer(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        handler = self._served.get(op)
        if handler is None:
            return {"failed": "unknown_op"}
        try:
            return {"payload": await handler(payload)}
        except Exception:
            log.exception("bus.request_failed", op=op)
            return {"failed": "error"}

    async def _serve_one(self, question: dict[str, Any]) -> None:
        answer = {"t": "answer", "id": question["id"], **await self._answer(question["op"], question["payload"])}
        try:
            await self._redis.publish(self._channel(question["from"]), _packed(answer))
        except _GONE as error:  # the asker's time-out tells it
            self._lost(error)

    # --- the flusher -----------------------------------------------------------------------------------------------

    async def _next_flush(self) -> None:
        """Waits until what has been handed over up to now is sent, or Redis is found away."""
        if not self.available:
            return
        if self._flushed is None:
            self._flushed = asyncio.get_running_loop().create_future()
        self._wake.set()
        await asyncio.shield(self._flushed)

    async def _flush_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._flushed = self._flushed, None
            try:
                while self.available and (self._events or self._changed or self._control):
                    await self._flush()
                if self.available and self._dropped:
                    log.info("bus.caught_up", dropped=self._dropped)
                    self._dropped = 0
            except _GONE as error:
                self._lost(error)
            finally:
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)

    async def _flush(self) -> None:
        events, self._events = self._events[:_FLUSH_EVENTS], self._events[_FLUSH_EVENTS:]
        changed, self._changed = self._changed, set()
        control, self._control = self._control, []
        accounts = list({account: None for event in events for account in event["to"]})
        try:
            pipe = self._redis.pipeline(transaction=False)
            self._write_presence(pipe, changed)
            if control:
                pipe.publish(self._channel("*"), _packed({"t": "control", "from": self.process, "said": control}))
            written = len(pipe)
            for account in accounts:
                pipe.smembers(self._presence_key(account))
            found = (await pipe.execute())[written:]
            holders = {
                account: {name.decode() for name in names} for account, names in zip(accounts, found, strict=True)
            }
            await self._send(events, holders)
        except _GONE:
            self._drop(len(events))
            self._changed |= changed
            raise

    def _write_presence(self, pipe: Any, accounts: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for account in accounts:
            key = self._presence_key(account)
            if self._held.pop(account, None) is None:
                pipe.srem(key, self.process)
            else:
                self._held[account] = now  # behind those that wait longer for their renewal
                pipe.sadd(key, self.process)
                pipe.expire(key, _PRESENCE_SECONDS)

    async def _send(self, events: Sequence[Envelope], holders: Mapping[str, set[str]]) -> None:
        """One message a process, then takes those out that nobody listens for."""
        held_by: dict[str, set[str]] = defaultdict(set)
        for account, names in holders.items():
            for name in names - {self.process}:
                held_by[name].add(account)
        if not held_by:
            return
        pipe = self._redis.pipeline(transaction=False)
        for name, accounts in held_by.items():
            packed = [narrowed for event in events if (narrowed := self._narrowed(event, accounts)) is not None]
            pipe.publish(self._channel(name), _packed({"t": "events", "events": packed}))
        received = await pipe.execute()
        dead = [name for name, count in zip(held_by, received, strict=True) if not count]
        if dead:
            await self._take_out(dead, held_by)

    async def _take_out(self, dead: Sequence[str], held_by: Mapping[str, set[str]]) -> None:
        """A process that lost its link for a moment announces itself anew when it is back, so this harms nobody."""
        pipe = self._redis.pipeline(transaction=False)
        for name in dead:
            for account in held_by[name]:
                pipe.srem(self._presence_key(account), name)
        await pipe.execute()
        log.info("bus.process_gone", processes=dead)

    # --- the listener and its heartbeat ----------------------------------------------------------------------------

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self._link = asyncio.timeout(None)
                async with self._link, self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._channel(self.process), self._channel("*"))
                    await self._confirmed(subscription)
                    await self._meet(subscription)
                    await self._arrived()
                    pause = _FIRST_PAUSE
                    while True:
                        self._heard(await subscription.get_message(timeout=_SILENCE_SECONDS))
            except _GONE as error:
                self._away(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spread, not secrecy
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _confirmed(self, subscription: Any) -> None:
        """Both subscriptions stand at the server: what is published from here on is heard."""
        for _ in range(2):
            if await subscription.get_message(timeout=_SILENCE_SECONDS) is None:
                raise TimeoutError("no confirmation of a subscription")

    async def _meet(self, subscription: Any) -> None:
        """Make ourselves known: on return every process that listens knows of us, and we of it."""
        loop = asyncio.get_running_loop()
        self._others.clear()
        self._last_heard = loop.time()
        listening = await self._redis.publish(self._channel("*"), _packed({"t": "here", "from": self.process}))
        until = loop.time() + _MEETING_SECONDS
        while len(self._others) < listening - 1 and (left := until - loop.time()) > 0:
            self._heard(await subscription.get_message(timeout=left))

    def _heard_of(self, process: str) -> None:
        if process != self.process:
            self._others[process] = asyncio.get_running_loop().time()

    async def _answer_newcomer(self, process: str) -> None:
        try:
            await self._redis.publish(self._channel(process), _packed({"t": "seen", "from": self.process}))
        except _GONE as error:  # it does not wait for long
            self._lost(error)

    async def _arrived(self) -> None:
        await self._redis.set(self._alive_key(self.process), b"1", ex=_ALIVE_SECONDS)
        returned = self._subscribed.is_set()
        self._last_heard = asyncio.get_running_loop().time()
        self.available = True
        AVAILABLE.set(1)
        self._changed.update(self._held)
        await self._next_flush()
        self._subscribed.set()
        if returned and self.available:
            log.info("bus.back", dropped=self._dropped, held=len(self._held))
            self._tell(BACK, None)

    def _lost(self, error: BaseException) -> None:
        """A command failed. The subscription may still stand, but is made and announced anew."""
        if self.available:
            self._link.reschedule(0)
        self._away(error)

    def _away(self, error: BaseException) -> None:
        """Tells once an outage; who waits for a flush is let go, nothing will come of it."""
        self._drop(len(self._events))
        if self.available:
            self.available = False
            AVAILABLE.set(0)
            OUTAGES.inc()
            log.warning("bus.away", error=type(error).__name__, held=len(self._held), dropped=self._dropped)
            self._tell(AWAY, None)
        self._events.clear()
        self._control.clear()
        self._wake.set()

    def _drop(self, count: int) -> None:
        self._dropped += count
        DROPPED.inc(count)

    def _heard(self, message: dict[str, Any] | None) -> None:
        now = asyncio.get_running_loop().time()
        if message is None:
            if now - self._last_heard >= _SILENCE_SECONDS:
                raise TimeoutError("nothing heard, not even the own heartbeat")
            return
        if message["type"] != "message":  # the driver has reconnected and subscribed by itself: something was missed
            raise ConnectionResetError("the subscription was interrupted")
        self._last_heard = now
        try:
            self._understand(json.loads(message["data"]))
        except (ValueError, KeyError, TypeError) as error:  # not one of ours: the channel is open to whoever has Redis
            log.warning("bus.message_unknown", error=type(error).__name__, size=len(message["data"]))

    def _understand(self, told: dict[str, Any]) -> None:
        match told["t"]:
            case "events":
                self._deliver(told["events"])
            case "here" if told["from"] != self.process:
                self._heard_of(told["from"])
                self._spawn("bus.seen", self._answer_newcomer(told["from"]))
            case "seen":
                self._heard_of(told["from"])
            case "control" if told["from"] != self.process:
                for topic, payload in told["said"]:
                    self._tell(topic, payload)
            case "ask":
                self._spawn("bus.serve", self._serve_one(told))
            case "answer" if (answer := self._asked.get(told["id"])) and not answer.done():
                answer.set_result(told)

    async def _beat(self) -> None:
        """Keeps this process alive in the others' eyes and renews the presence that was announced longest ago."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if not self.available:
                continue
            old = asyncio.get_running_loop().time() - _RENEW_SECONDS
            for account, announced in self._held.items():
                if announced > old:
                    break
                self._changed.add(account)
            self._wake.set()
            try:
                pipe = self._redis.pipeline(transaction=False)
                pipe.set(self._alive_key(self.process), b"1", ex=_ALIVE_SECONDS)
                pipe.publish(self._channel(self.process), _packed({"t": "beat"}))
                await pipe.execute()
                await self._forget_gone()
            except _GONE as error:
                self._lost(error)

    async def _forget_gone(self) -> None:
        """Those whose channel nobody listens to; one that has made itself known meanwhile stays."""
        if not self._others:
            return
        asked_at = asyncio.get_running_loop().time()
        names = list(self._others)
        listeners = await self._redis.pubsub_numsub(*map(self._channel, names))
        for name, (_, count) in zip(names, listeners, strict=True):
            if not count and self._others.get(name, asked_at) < asked_at:
                del self._others[name]

    # --- names -----------------------------------------------------------------------------------------------------

    def _channel(self, process: str) -> str:
        return f"{self._prefix}:to:{process}"

    def _presence_key(self, account: str) -> str:
        return f"{self._prefix}:presence:{account}"

    def _alive_key(self, process: str) -> str:
        return f"{self._prefix}:alive:{process}"


async def _awaited(outcome: Awaitable[None]) -> None:
    await outcome


def _packed(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _opened(answer: dict[str, Any]) -> dict[str, Any]:
    if "failed" in answer:
        raise RequestFailed(answer["failed"])
    payload: dict[str, Any] = answer["payload"]
    return payload
