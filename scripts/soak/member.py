"""One account of a conversation, as a client that keeps to the protocol: it says, hears, comes back and catches up.

What it said and was not acknowledged it says again under the same id, in order. Of what it hears it takes only the
next number; a hole is closed by `sync` from its own cursor, and by nothing else.
"""

import asyncio
import contextlib
import json
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scripts.bench.client import request
from scripts.bench.wire import Wire
from scripts.processes import LOOPBACK
from scripts.returning import pause_before
from scripts.soak.flow import Flow
from scripts.soak.verdict import Told, place_of

# Messages under way at the same time, so that a cut meets several in every state.
WINDOW: Final = 8
PAGE: Final = 100
# Parts come back within seconds: who waits longer to come back only makes the run longer.
LONGEST_PAUSE: Final = 1.0
# What a server may need while a store is away; then the connection is given up, as a person's program would.
ANSWER_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 1.0
# Refusals that ask to come again; any other one is a fault of the run.
_AGAIN: Final = frozenset({"unavailable", "overloaded"})


@dataclass(frozen=True)
class Seat:
    """Who it is: the number among all senders, the account's token and device, the conversation, and who else is in."""

    number: int
    token: str
    device: str
    conversation: str
    senders: dict[str, int]  # account → number, of all members of the conversation

    def on(self, device: str) -> "Seat":
        """The same person on another device."""
        return replace(self, device=device)


class Member:
    """`run` until `leave`. `ports` are those of the processes with sockets; each time one is taken by chance."""

    def __init__(self, seat: Seat, ports: Sequence[int], flow: Flow, chance: random.Random) -> None:
        self.seat = seat
        self.told = Told()
        self.heard = array("Q")  # places by seq: the first is of seq 1
        self.counted: Counter[str] = Counter()
        self.faults: list[str] = []
        self.settled = asyncio.Event()  # nothing of its own waits for an ack, and nothing more is to be said
        self._ports = ports
        self._flow = flow
        self._chance = chance
        self._open: dict[int, int] = {}  # number of a message without an ack → how often it was said
        self._wire: Wire | None = None
        self._is_in = False
        self._syncing = False
        self._caught_up: asyncio.Future[None] | None = None
        self._heard_at = 0.0
        self._leaving = asyncio.Event()

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Come, stay as long as the connection lasts, and come back."""
        tries = 0
        while not self._leaving.is_set():
            code, reason = await self._stay()
            tries = 0 if self._is_in else tries + 1
            self._is_in = self._syncing = False
            self.counted["ended"] += 1
            await self._away(pause_before(tries, code, reason, self._chance, longest=LONGEST_PAUSE))

    async def _stay(self) -> tuple[int | None, str]:
        """One connection from its opening to its end; its close code and reason."""
        loop = asyncio.get_running_loop()
        try:
            self._wire = wire = await Wire.open(LOOPBACK, self._chance.choice(self._ports), "/ws", self._read)
        except OSError:
            return None, ""
        self._heard_at = loop.time()
        hello = {"token": self.seat.token, "device": self.seat.device, "client": "soak"}
        wire.send(request("hello", "hello", hello))
        while not wire.closed.done():
            await asyncio.wait({wire.closed}, timeout=_LOOK_SECONDS)
            if self._waits and loop.time() - self._heard_at > ANSWER_SECONDS:
                self.counted["given up"] += 1
                wire.drop()
        self._wire = None
        return wire.closed.result(), wire.reason

    @property
    def _waits(self) -> bool:
        return not self._is_in or self._syncing or bool(self._open)

    async def _away(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    def cut(self) -> bool:
        """Tear the connection, in the middle of whatever it carries; False: there is none."""
        if self._wire is None:
            return False
        self._wire.drop()
        return True

    def leave(self) -> None:
        """Hang up for good."""
        self._leaving.set()
        self.cut()

    async def catch_up(self) -> None:
        """On return it holds everything that was stored when it was asked, by `sync` on a connection made for it."""
        self._caught_up = asyncio.get_running_loop().create_future()
        self.cut()
        await self._caught_up

    # --- saying ------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Say new things, as many as may be under way."""
        while len(self._open) < WINDOW and self._flow.say():
            number = len(self.told.seqs)
            self.told.seqs.append(0)
            self._open[number] = 0
            self._say(number)
        if not self._open and not self._flow.goes_on:
            self.settled.set()

    def nudge(self) -> None:
        """Look whether anything is left to be done: somebody else has changed how much is said."""
        if self._is_in:
            self.fill()

    def _say(self, number: int) -> None:
        self._open[number] += 1
        body = {"text": str(number)}
        self._ask(f"m{number}", "message.send", {"conversation": self.seat.conversation, "kind": "text", "body": body})

    def _say_again(self, number: int) -> None:
        if self._is_in and number in self._open:
            self._say(number)

    def _ask(self, id_: str, op: str, args: dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.send(request(id_, op, args))

    # --- hearing -----------------------------------------------------------------------------------------------------

    def _read(self, frame: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        said = json.loads(frame)
        for one in said if isinstance(said, list) else (said,):
            if "ev" in one:
                if one["ev"] == "message.created":
                    self._pushed(one["data"])
            elif one["re"].startswith("m"):
                self._answered(int(one["re"][1:]), one)
            elif not one["ok"]:
                self._refused_otherwise(one)
            elif one["re"] == "hello":
                self._sync()
            else:
                self._page(one["data"]["conversations"][0])

    def _answered(self, number: int, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self._refused(number, answer["error"])
            return
        data, known = answer["data"], self.told.seqs[number]
        said = self._open.pop(number, None)
        if known:
            self.told.contradictions += known != data["seq"]
            return
        self.counted["dup"] += data["dup"]
        # Said only once, it cannot have been there before.
        self.told.contradictions += bool(data["dup"] and said == 1)
        self.told.seqs[number] = data["seq"]
        self._flow.ack()
        if self._is_in:
            self.fill()

    def _refused(self, number: int, error: dict[str, Any]) -> None:
        if error["code"] not in _AGAIN:
            self.faults.append(f"a message was refused with {error['code']}")
            return
        self.counted[error["code"]] += 1
        self.told.refused.add(number)
        # Sooner than it was asked to: a server that struggles must bear this too.
        asyncio.get_running_loop().call_later(self._chance.uniform(0.1, LONGEST_PAUSE), self._say_again, number)

    def _refused_otherwise(self, answer: dict[str, Any]) -> None:
        if answer["error"]["code"] not in _AGAIN:
            self.faults.append(f"{answer['re']} was refused with {answer['error']['code']}")
        # Whatever it was, a new connection begins with it.
        self.cut()

    def _pushed(self, message: dict[str, Any]) -> None:
        if message["conversation"] != self.seat.conversation:
            self.faults.append("a message of another conversation was pushed")
        elif self._take(message) and not self._syncing:
            self.counted["holes"] += 1
            self._sync()

    def _take(self, message: dict[str, Any]) -> bool:
        """Take the next number; whether this one lies beyond it. One that is held already must be what is held."""
        seq, place = (
            message["seq"],
            place_of(self.seat.senders[message["from"]["account"]], int(message["body"]["text"])),
        )
        if seq == len(self.heard) + 1:
            self.heard.append(place)
        elif seq <= len(self.heard) and self.heard[seq - 1] != place:
            self.faults.append(f"seq {seq} was two messages")
        return bool(seq > len(self.heard))

    # --- catching up -------------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        self._syncing = True
        self._ask("sync", "sync", {"cursors": {self.seat.conversation: len(self.heard)}, "limit": PAGE})

    def _page(self, page: dict[str, Any]) -> None:
        if any([self._take(message) for message in page["messages"]]):
            self.faults.append("a page of sync had a hole")
        if page["more"]:
            self._sync()
            return
        self._syncing = False
        if not self._is_in:
            self._is_in = True
            for number in sorted(self._open):
                self._say(number)
        if self._caught_up is not None and not self._caught_up.done():
            self._caught_up.set_result(None)
        self.fill()
