"""Who is not here when something is said is owed a notice."""

import asyncio
from datetime import timedelta

import pytest

from core.errors import ServiceUnavailable
from im.absent import AbsentMembers
from tests.clock import SettableClock
from tests.im.house import until

pytestmark = pytest.mark.gen_test(timeout=20)


class Presence:
    """Who holds a socket here, and in some other process; how often Redis was asked."""

    def __init__(self):
        self.here, self.elsewhere, self.asked = set(), set(), []

    def holds(self, account):
        return account in self.here

    async def is_online(self, accounts):
        self.asked.append(set(accounts))
        await asyncio.sleep(0)
        return (self.here | self.elsewhere) & set(accounts)


class Owing:
    """Notes what is owed; each is due in ten minutes."""

    def __init__(self, clock):
        self.clock, self.owed, self.failures = clock, [], []

    async def __call__(self, *, visit, account, receiver):
        if self.failures:
            raise self.failures.pop(0)
        self.owed.append((visit, account, receiver))
        return self.clock.now() + timedelta(seconds=600)


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def absent(clock):
    made = AbsentMembers(Presence(), clock)
    made.owe = Owing(clock)
    return made


def said(conversation="v1", account="d1", role="doctor", to=("d1", "p1")):
    data = {"conversation": conversation, "from": {"account": account, "role": role}, "seq": 1}
    return {"to": list(to), "ev": "message.created", "data": data}


async def test_the_other_member_who_is_nowhere_is_owed_a_notice(absent):
    absent.stored([said()])
    await absent.stop()
    assert absent.owe.owed == [("v1", "p1", "patient")]


async def test_the_doctor_is_owed_one_of_what_the_patient_said(absent):
    absent.stored([said(account="p1", role="patient")])
    await absent.stop()
    assert absent.owe.owed == [("v1", "d1", "doctor")]


async def test_who_has_a_socket_here_costs_no_question_at_all(absent):
    absent._bus.here = {"p1", "d1"}
    absent.stored([said(), said(account="p1", role="patient")])
    assert absent._running is None
    assert (absent.owe.owed, absent._bus.asked) == ([], [])


async def test_who_has_a_socket_elsewhere_is_owed_nothing(absent):
    absent._bus.elsewhere = {"p1"}
    absent.stored([said()])
    await absent.stop()
    assert (absent.owe.owed, absent._bus.asked) == ([], [{"p1"}])


async def test_what_the_hospital_says_is_owed_to_nobody(absent):
    absent.stored([said(account="system", role="system")])
    assert absent._running is None


async def test_what_gathers_is_one_question_and_what_is_owed_is_not_asked_again_until_it_is_due(absent, clock):
    absent.stored([said(f"v{n}", to=("d1", f"p{n}")) for n in range(5)])
    absent.stored([said("v1"), said("v1")])
    await absent.stop()
    assert absent._bus.asked == [{"p0", "p1", "p2", "p3", "p4"}]
    assert len(absent.owe.owed) == 5
    absent.stored([said("v1")])
    clock.step(598)
    absent.stored([said("v1")])
    await absent.stop()
    assert len(absent.owe.owed) == 5
    clock.step(1)
    absent.stored([said("v1")])
    await absent.stop()
    assert absent.owe.owed[5:] == [("v1", "p1", "patient")]


async def test_a_store_that_is_away_keeps_nobody_else_from_being_owed(absent):
    absent.owe.failures = [ServiceUnavailable(), ConnectionError()]
    absent.stored([said("v1"), said("v2"), said("v3")])
    await absent.stop()
    assert absent.owe.owed == [("v3", "p1", "patient")]


async def test_the_journal_tells_of_what_people_say_after_the_ack(server, visit):
    told = []
    server.journal.on_stored = told.extend
    line = await server.line(visit.doctor, "doctor")
    acked = await line.say(visit, "您好")
    await until(lambda: told)
    assert [(one["data"]["seq"], one["data"]["from"]["account"]) for one in told] == [(acked["seq"], visit.doctor)]
