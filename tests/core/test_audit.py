import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from core import tasks
from core.audit import NOBODY, Act, AuditTrail, Request, append, append_all, asked, entry_of
from core.auth import Actor
from core.policy import Policy
from tests.clock import SettableClock

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
DOCTOR = Actor("d1", "doctor")


@dataclass
class Entries:
    """Keeps what is written; a write waits for `go`, and raises `fault` when there is one."""

    writes: list[list[Any]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    async def add(self, entries):
        self.writes.append(list(entries))
        await self.go.wait()
        if self.fault is not None:
            raise self.fault


@dataclass
class PartialContext:
    """What appending uses of `core.context.Context`."""

    audit: AuditTrail
    clock: Any = field(default_factory=lambda: SettableClock(NOW))
    policy: Any = field(default_factory=Policy)


@pytest.fixture
def entries(io_loop):
    return Entries()


@pytest.fixture
def ctx(entries):
    return PartialContext(AuditTrail(entries))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.rule("R5-4")
@pytest.mark.gen_test
async def test_an_entry_says_who_did_what_to_what_when_from_where_and_is_kept_three_years(ctx, entries):
    entries.go.set()
    token = asked.set(Request("req-1", "10.0.0.9"))
    await append(ctx, DOCTOR, "visit.read", subject="visit:v1", reason="sms")
    asked.reset(token)
    [[entry]] = entries.writes
    assert len(entry.pop("_id")) == 26
    assert entry == {
        "at": NOW,
        "actor": "d1",
        "role": "doctor",
        "act": "visit.read",
        "subject": "visit:v1",
        "frm": None,
        "to": None,
        "reason": "sms",
        "request": "req-1",
        "address": "10.0.0.9",
        "retain_until": NOW.replace(year=2029),
        "block": 0,
    }


@pytest.mark.gen_test
async def test_nobody_goes_on_before_the_entry_is_stored(ctx, entries):
    waiting = tasks.spawn("test", append(ctx, DOCTOR, "visit.read"))
    await turns()
    assert (len(entries.writes), waiting.done()) == (1, False)
    entries.go.set()
    await waiting


@pytest.mark.gen_test
async def test_those_that_come_while_a_write_is_under_way_share_the_next(ctx, entries):
    first = tasks.spawn("test", append(ctx, DOCTOR, "visit.read"))
    await turns()
    others = [tasks.spawn("test", append(ctx, Actor(f"p{n}", "patient"), "order.read")) for n in range(5)]
    await turns()
    entries.go.set()
    await asyncio.gather(first, *others)
    assert [len(write) for write in entries.writes] == [1, 5]
    await append(ctx, DOCTOR, "visit.read")
    assert len(entries.writes) == 3


@pytest.mark.gen_test
async def test_a_store_that_is_away_is_told_to_everybody_in_the_write_and_to_nobody_later(ctx, entries):
    entries.fault = AutoReconnect("away")
    waiting = [tasks.spawn("test", append(ctx, DOCTOR, "visit.read")) for _ in range(3)]
    await turns()
    entries.go.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in told] == [AutoReconnect] * 3
    entries.fault = None
    await append(ctx, DOCTOR, "visit.read")


@pytest.mark.gen_test
async def test_one_that_no_longer_waits_keeps_nobody_else_from_the_answer(ctx, entries):
    gone = tasks.spawn("test", append(ctx, DOCTOR, "visit.read"))
    stays = tasks.spawn("test", append(ctx, DOCTOR, "order.read"))
    await turns()
    gone.cancel()
    await turns()
    entries.go.set()
    await stays
    assert gone.cancelled()


@pytest.mark.gen_test
async def test_several_acts_are_one_write_and_none_is_no_write(ctx, entries):
    entries.go.set()
    await append_all(ctx, [])
    await append_all(ctx, [Act(DOCTOR, "visit.messages", f"visit:{n}") for n in range(3)])
    assert [[one["subject"] for one in write] for write in entries.writes] == [["visit:0", "visit:1", "visit:2"]]


@pytest.mark.parametrize("act", ["read", "visit.read.more", "Visit.read", "visit 读"])
def test_an_act_is_a_dotted_name(act):
    with pytest.raises(ValueError, match="dotted name"):
        entry_of(Act(NOBODY, act), NOW, None, 3)


@pytest.mark.parametrize("reason", ["因为患者张三要求", "two words", "", "x" * 41])
def test_a_reason_that_could_be_somebodys_words_is_refused_and_not_repeated(reason):
    with pytest.raises(ValueError, match="one word") as refused:
        entry_of(Act(NOBODY, "visit.read", None, reason), NOW, None, 3)
    assert "张三" not in str(refused.value)
