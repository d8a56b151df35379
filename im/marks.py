"""Marks of conversations that only rise, written late: a second's worth at a time, and the rest at the stop."""

import asyncio
import math
from typing import TYPE_CHECKING, Final

import structlog

from core import tasks
from core.errors import AWAY
from storage.conversations import Raise

if TYPE_CHECKING:
    from storage.conversations import ConversationRepository

log = structlog.get_logger()

# A kill loses what was marked in this time: `last_seq` is read up from what is there, a reader marks again.
PAUSE_SECONDS: Final = 1.0
# `last_seq` spares a cold start the messages below it, and no more: one look upwards finds the end from this far behind
# as it does from the last number. Marked with every message, a second of chat would cost a write a conversation.
EVERY: Final = 100
# A mark holds the embedded server for two milliseconds, and every message that is being stored with it: a second's
# worth is written in so many parts at the most, with a breath between them.
PARTS: Final = 32
BREATH_SECONDS: Final = 0.01
_PART_AT_LEAST: Final = 2


class Marks:
    """What has risen since the last write. With the store away it is kept and written when it is back."""

    def __init__(self, conversations: "ConversationRepository") -> None:
        self._conversations = conversations
        self._risen: dict[str, Raise] = {}
        self._writer: asyncio.Task[None] | None = None

    def stored(self, conversation: str, seq: int) -> None:
        """A message of this number is stored; only every so many is marked."""
        if seq % EVERY == 0:
            risen = self._of(conversation)
            risen.last_seq = max(risen.last_seq, seq)

    def read(self, conversation: str, account: str, seq: int) -> None:
        """A member has read as far as this."""
        risen = self._of(conversation)
        risen.read[account] = max(risen.read.get(account, 0), seq)

    def unwritten(self, conversation: str) -> dict[str, int]:
        """Read marks that are not in the store yet."""
        risen = self._risen.get(conversation)
        return risen.read if risen is not None else {}

    def _of(self, conversation: str) -> Raise:
        risen = self._risen.get(conversation)
        if risen is None:
            risen = self._risen[conversation] = Raise()
            if self._writer is None or self._writer.done():
                self._writer = tasks.spawn("chat.marks", self._write_later())
        return risen

    async def _write_later(self) -> None:
        while self._risen:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.write(breath=BREATH_SECONDS)

    async def write(self, *, breath: float = 0.0) -> None:
        """Write what has risen, `breath` seconds between its parts; what cannot be written stays for the next time."""
        names = list(self._risen)
        part = max(_PART_AT_LEAST, math.ceil(len(names) / PARTS))
        for begin in range(0, len(names), part):
            if begin and breath:
                await asyncio.sleep(breath)
            some = {name: self._risen.pop(name) for name in names[begin : begin + part] if name in self._risen}
            try:
                await self._conversations.raise_marks(some)
            except AWAY as error:
                self._take_back(some)
                log.warning("chat.marks_unwritten", conversations=len(self._risen), error=type(error).__name__)
                return
            except BaseException:
                self._take_back(some)
                raise

    def _take_back(self, risen: dict[str, Raise]) -> None:
        for conversation, marks in risen.items():
            newer = self._risen.setdefault(conversation, Raise())
            newer.last_seq = max(newer.last_seq, marks.last_seq)
            for account, seq in marks.read.items():
                newer.read[account] = max(newer.read.get(account, 0), seq)

    async def stop(self) -> None:
        """Write the rest."""
        await tasks.stop(self._writer)
        await self.write()
