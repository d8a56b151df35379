"""Notices over a real store, with phones that only note what they get, and a runner that can be killed at any step."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from core.accounts.rules import PHONE_FIELD
from core.jobs import DutyRunner
from core.notices.jobs import DUTIES
from core.policy import Policy
from storage.accounts import AccountRepository
from storage.conversations import ConversationRepository, Raise
from storage.encryption import FieldCipher
from storage.indexes import ensure_indexes
from storage.messages import MessageRepository
from storage.notices import NoticeRepository
from storage.visits import VisitRepository
from tests.clock import SettableClock

VISIT, PATIENT, DOCTOR = "v1", "p1", "d1"
PHONE = "19900090001"
PAUSE = 600
CIPHER = FieldCipher({"f1": b"f" * 32}, "f1", b"i" * 32)


class Killed(BaseException):
    """The process ends here, and nothing of what would follow happens."""


@dataclass
class Steps:
    """What a runner does at the stores and outside, in order; it is killed as it comes to `last`."""

    done: list[str] = field(default_factory=list)
    last: int | None = None

    def come_to(self, step: str) -> None:
        self.done.append(step)
        if len(self.done) == self.last:
            raise Killed(step)


class MortalNotices(NoticeRepository):
    """Each change is a step before and after it."""

    def __init__(self, store: Any, steps: Steps) -> None:
        super().__init__(store)
        self._steps = steps

    async def _stepping(self, name: str, doing: Any) -> Any:
        try:
            self._steps.come_to(f"before {name}")
        except Killed:
            doing.close()
            raise
        done = await doing
        self._steps.come_to(f"after {name}")
        return done

    async def lease(self, *given: Any, **named: Any) -> Any:
        return await self._stepping("lease", super().lease(*given, **named))

    async def finish(self, *given: Any) -> Any:
        return await self._stepping("finish", super().finish(*given))

    async def postpone(self, *given: Any, **named: Any) -> Any:
        return await self._stepping("postpone", super().postpone(*given, **named))

    async def change(self, seen: Any, to: Any, **named: Any) -> Any:
        return await self._stepping(f"change to {to}", super().change(seen, to, **named))

    async def proceed(self, begun: Any, to: Any, **named: Any) -> Any:
        return await self._stepping(f"proceed to {to}", super().proceed(begun, to, **named))


@dataclass
class Phones:
    """Both channels: what arrived and when. `refusals` are raised instead, the first of a channel first."""

    clock: SettableClock
    steps: Steps
    got: list[tuple[str, datetime]] = field(default_factory=list)
    refusals: dict[str, list[Exception]] = field(default_factory=dict)
    meanwhile: Any = None

    def channel(self, name: str) -> "Channel":
        return Channel(self, name)

    def names(self) -> list[str]:
        return [name for name, _ in self.got]


@dataclass
class Channel:
    """Fulfils `WeChatMessages` and `SmsSender`."""

    phones: Phones
    name: str

    async def send(self, to: str, template: Any, values: Any, **named: Any) -> None:
        phones = self.phones
        phones.steps.come_to(f"before {self.name}")
        if phones.meanwhile is not None:
            await phones.meanwhile()
        if phones.refusals.get(self.name):
            raise phones.refusals[self.name].pop(0)
        phones.got.append((self.name, phones.clock.now()))
        phones.steps.come_to(f"after {self.name}")


@dataclass
class Presence:
    """Who has a socket, as the bus would tell."""

    online: set[str] = field(default_factory=set)
    available: bool = True

    async def is_online(self, accounts: Any) -> set[str]:
        return self.online & set(accounts)


@dataclass
class Desk:
    """What notices use of `core.context.Context`, and what the tests do with it."""

    clock: SettableClock
    policy: Policy
    cipher: FieldCipher
    accounts: AccountRepository
    conversations: ConversationRepository
    messages: MessageRepository
    visits: VisitRepository
    notices: NoticeRepository
    bus: Presence
    steps: Steps
    phones: Phones
    patient_messages: Channel
    staff_messages: Channel
    sms: Channel

    async def add_account(self, id_: str = PATIENT, **changes: Any) -> None:
        account: Any = {
            "_id": id_,
            "audience": "patient",
            "role": "patient",
            "status": "active",
            "phone": self.cipher.seal(PHONE, field=PHONE_FIELD),
            "phone_index": id_,
            "openid": f"o-{id_}",
        }
        await self.accounts.add(account | changes)

    async def say(self, account: str = DOCTOR, seq: int = 1, **changes: Any) -> None:
        now = self.clock.now()
        message: Any = {
            "_id": f"m{seq}",
            "conversation": VISIT,
            "seq": seq,
            "account": account,
            "role": "doctor",
            "kind": "text",
            "body": "",
            "at": now,
            "recalled_at": None,
            "retain_until": now,
        }
        await self.messages.add([message | changes])

    async def read(self, seq: int, account: str = PATIENT) -> None:
        await self.conversations.raise_marks({VISIT: Raise(0, {account: seq})})

    async def run(self, after: float = 0) -> None:
        """Let time pass; a worker that began only now does what is due."""
        self.clock.step(after)
        runner = DutyRunner(DUTIES, {})
        runner.bind(self, {"notices": self.notices})  # type: ignore[arg-type]
        while await runner.run_due():
            pass

    async def notice(self, account: str = PATIENT) -> Any:
        return await self.notices.of(VISIT, account)


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store))
    return store


@pytest.fixture
def desk(io_loop, indexed) -> Desk:
    """An empty database, nobody online."""

    async def empty() -> None:
        for name in ("accounts", "conversations", "messages", "visits", "notices"):
            await indexed.db[name].delete_many({})

    io_loop.run_sync(empty)
    clock, steps = SettableClock(), Steps()
    phones = Phones(clock, steps)
    return Desk(
        clock=clock,
        policy=Policy(),
        cipher=CIPHER,
        accounts=AccountRepository(indexed),
        conversations=ConversationRepository(indexed),
        messages=MessageRepository(indexed),
        visits=VisitRepository(indexed),
        notices=MortalNotices(indexed, steps),
        bus=Presence(),
        steps=steps,
        phones=phones,
        patient_messages=phones.channel("subscribe"),
        staff_messages=phones.channel("staff"),
        sms=phones.channel("sms"),
    )
