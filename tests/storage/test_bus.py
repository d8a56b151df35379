import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.tasks import spawn
from scripts.embedded import EmbeddedRedis
from storage.bus import AWAY, BACK, Bus, ProcessGone, RequestFailed
from storage.redis import BUS_AWAY, connect

pytestmark = pytest.mark.gen_test(timeout=20)


class Sockets:
    """Stands for a hub: keeps what was delivered and can be waited on."""

    def __init__(self, bus):
        self.got = []
        self._changed = asyncio.Event()
        bus.on_events = self._take

    def _take(self, envelopes):
        self.got += [(tuple(one["to"]), one["ev"], one["data"]) for one in envelopes]
        self._changed.set()

    async def until(self, count):
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.got


class Published:
    """A client that counts what is published through it."""

    def __init__(self, redis):
        self._redis = redis
        self.messages = []

    def __getattr__(self, name):
        return getattr(self._redis, name)

    def pipeline(self, transaction):
        pipe = self._redis.pipeline(transaction=transaction)
        publish = pipe.publish

        def counted(channel, message):
            self.messages.append((channel, json.loads(message)))
            return publish(channel, message)

        pipe.publish = counted
        return pipe

    def events(self):
        return [(channel, told["events"]) for channel, told in self.messages if told["t"] == "events"]


def event(*to, ev="message.created", **data):
    return {"to": list(to), "ev": ev, "data": data}


@asynccontextmanager
async def processes(url, *names):
    """Buses of several processes, each with a client and sockets of its own."""
    clients = [connect(url) for _ in names]
    buses = [Bus(Published(client), name) for client, name in zip(clients, names, strict=True)]
    for bus in buses:
        bus.sockets = Sockets(bus)
        await bus.start()
    try:
        yield buses
    finally:
        for bus, client in zip(buses, clients, strict=True):
            await bus.stop()
            await client.aclose()


@pytest.fixture(autouse=True)
def emptied(io_loop, redis):
    io_loop.run_sync(redis.flushall)


async def test_event_reaches_the_sockets_of_other_processes(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("doctor")
        await one.publish([event("doctor", seq=1, text="您好")])
        assert await two.sockets.until(1) == [(("doctor",), "message.created", {"seq": 1, "text": "您好"})]
        assert one.sockets.got == []


async def test_local_sockets_have_the_event_before_publish_returns(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await one.present("patient")
        await two.present("doctor")
        publishing = one.publish([event("patient", "doctor", seq=1)])
        with pytest.raises(StopIteration):  # it never waits
            publishing.send(None)
        assert one.sockets.got == [(("patient",), "message.created", {"seq": 1})]
        assert await two.sockets.until(1) == [(("doctor",), "message.created", {"seq": 1})]


async def test_account_with_sockets_in_two_processes_gets_the_event_once_in_each(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await one.present("a")
        await two.present("a")
        await one.publish([event("a", n=1)])
        await one.publish([event("a", n=2)])
        expected = [(("a",), "message.created", {"n": 1}), (("a",), "message.created", {"n": 2})]
        assert (one.sockets.got, await two.sockets.until(2)) == (expected, expected)


async def test_flush_sends_one_message_to_each_process_with_only_its_own(redis_url):
    async with processes(redis_url, "p1", "p2", "p3") as (one, two, three):
        await two.present("a")
        await two.present("b")
        await three.present("c")
        await one.publish([event("a", "c", n=1), event("b", n=2), event("nobody", n=3), event("c", n=4)])
        await two.sockets.until(2)
        await three.sockets.until(2)
        assert dict(one._redis.events()) == {
            "bus:to:p2": [event("a", n=1), event("b", n=2)],
            "bus:to:p3": [event("c", n=1), event("c", n=4)],
        }
        assert len(one._redis.events()) == 2


async def test_what_gathers_while_a_flush_is_on_its_way_goes_as_one(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("a")
        for n in range(100):
            await one.publish([event("a", n=n)])
        assert [data["n"] for _, _, data in await two.sockets.until(100)] == list(range(100))
        assert len(one._redis.events()) == 1


# --- alone


async def test_process_that_is_alone_tells_redis_nothing_of_its_events(redis_url, redis):
    async with processes(redis_url, "p1") as (one,):
        await one.present("a")
        await redis.config_resetstat()
        await one.publish([event("a", "b", n=1)])
        await one.broadcast("visit.moved", "v1")
        await one.present("a")  # the next flush comes after what went before
        commands = await redis.info("commandstats")
        assert {"cmdstat_publish", "cmdstat_smembers"} & commands.keys() == set()
        assert one.sockets.got == [(("a",), "message.created", {"n": 1})]


async def test_those_who_listen_already_know_of_a_newcomer_before_it_is_ready(redis_url):
    async with processes(redis_url, "p1", "p2", "p3") as (one, two, three):
        for bus, others in ((one, {"p2", "p3"}), (two, {"p1", "p3"}), (three, {"p1", "p2"})):
            assert bus._others.keys() == others


async def test_process_that_is_gone_is_forgotten_at_the_next_heartbeat(redis_url):
    async with processes(redis_url, "p1", "p2", "p3") as (one, two, _):
        await two.stop()
        await one._forget_gone()
        assert one._others.keys() == {"p3"}


async def test_process_that_makes_itself_known_while_it_is_asked_for_is_not_forgotten(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.stop()

        async def asked(*channels):
            counted = await numsub(*channels)
            one._heard_of("p2")
            return counted

        numsub, one._redis.pubsub_numsub = one._redis.pubsub_numsub, asked
        await one._forget_gone()
        assert one._others.keys() == {"p2"}


async def test_one_who_listens_without_answering_is_not_waited_for_long(redis_url, redis):
    async with redis.pubsub() as silent:
        await silent.subscribe("bus:to:*")
        assert await silent.get_message(timeout=5) is not None
        async with processes(redis_url, "p1") as (one,):
            assert one.available
            assert one._others == {}


async def test_account_that_left_gets_nothing_and_is_not_online(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("a")
        await two.present("b")
        assert await one.is_online({"a", "b", "c"}) == {"a", "b"}
        await two.absent("a")
        assert await one.is_online({"a", "b", "c"}) == {"b"}
        await one.publish([event("a", n=1), event("b", n=2)])
        assert await two.sockets.until(1) == [(("b",), "message.created", {"n": 2})]


async def test_quick_leave_and_return_ends_as_present(redis_url, redis):
    async with processes(redis_url, "p1", "p2") as (one, two):
        changes = [two.present("a"), two.absent("a"), two.present("a")] * 20
        await asyncio.gather(*changes)
        assert await redis.smembers("bus:presence:a") == {b"p2"}
        assert await one.is_online(["a"]) == {"a"}


async def test_stopped_process_takes_its_presence_back(redis_url, redis):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("a")
        await two.stop()
        assert await one.is_online(["a"]) == set()
        assert await redis.keys("bus:*p2*") + await redis.keys("bus:presence:*") == []


async def test_presence_of_a_process_that_died_is_taken_out(redis_url, redis):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await redis.sadd("bus:presence:a", "dead")
        await two.present("a")
        assert await one.is_online(["a"]) == {"a"}
        await one.publish([event("a", n=1)])
        await two.sockets.until(1)
        await one.present("x")  # the next flush comes after the first has ended
        assert await redis.smembers("bus:presence:a") == {b"p2"}


async def test_presence_expires_by_itself(redis_url, redis):
    async with processes(redis_url, "p1") as (one,):
        await one.present("a")
        assert 590 < await redis.ttl("bus:presence:a") <= 600
        assert 0 < await redis.ttl("bus:alive:p1") <= 10


# --- control


async def test_broadcast_reaches_every_process_once(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        heard, came = [], asyncio.Event()

        async def later(payload):
            heard.append(("later", payload))
            came.set()

        one.on("visit.moved", lambda payload: heard.append(("one", payload)))
        two.on("visit.moved", lambda payload: heard.append(("two", payload)))
        two.on("visit.moved", later)
        await one.broadcast("visit.moved", "v1")
        assert heard[0] == ("one", "v1")
        await came.wait()
        answered = asyncio.Event()
        one.on("visit.moved", lambda payload: answered.set())
        await two.broadcast("visit.moved", "v2")
        await answered.wait()
        assert sorted(heard) == [(who, visit) for who in ("later", "one", "two") for visit in ("v1", "v2")]


async def test_failing_handler_stops_no_other(redis_url):
    async with processes(redis_url, "p1") as (one,):
        heard = []
        one.on("x", lambda payload: 1 / 0)
        one.on("x", heard.append)
        with capture_logs() as logs:
            await one.broadcast("x", 1)
        assert heard == [1]
        assert [entry["event"] for entry in logs] == ["bus.handler_failed"]


async def test_foreign_message_is_logged_without_its_content_and_harms_nothing(redis_url, redis):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("a")
        with capture_logs() as logs:
            for foreign in (b"secret", b"[]", b'{"t": "events"}', b"\xff"):
                await redis.publish("bus:to:p2", foreign)
            await one.publish([event("a", n=1)])
            await two.sockets.until(1)
        assert [entry["event"] for entry in logs] == ["bus.message_unknown"] * 4
        assert "secret" not in str(logs)


# --- request and reply


async def test_request_is_answered_by_the_named_process(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):

        async def double(payload):
            return {"n": payload["n"] * 2, "by": "p2"}

        two.serve("double", double)
        answers = await asyncio.gather(*(one.request("p2", "double", {"n": n}, 5) for n in range(20)))
        assert answers == [{"n": n * 2, "by": "p2"} for n in range(20)]
        assert await two.request("p2", "double", {"n": 4}, 5) == {"n": 8, "by": "p2"}


async def test_request_to_nobody_is_told_at_once(redis_url):
    async with processes(redis_url, "p1") as (one,):
        with pytest.raises(ProcessGone):
            await one.request("gone", "double", {}, 5)


async def test_those_that_listen_are_told_from_those_that_do_not(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, _):
        assert await one.listening(["p1", "p2", "gone"]) == {"p1", "p2"}
        assert await one.listening([]) == set()


async def test_unanswered_request_ends_with_its_time(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):
        never = asyncio.Event()
        two.serve("wait", lambda payload: never.wait())
        with pytest.raises(TimeoutError):
            await one.request("p2", "wait", {}, 0.1)
        assert one._asked == {}


async def test_failing_or_unknown_request_is_told_without_details(redis_url):
    async with processes(redis_url, "p1", "p2") as (one, two):

        async def fail(payload):
            raise LookupError("张三")

        two.serve("fail", fail)
        with capture_logs(), pytest.raises(RequestFailed, match=r"^error$"):
            await one.request("p2", "fail", {}, 5)
        with pytest.raises(RequestFailed, match=r"^unknown_op$"):
            await one.request("p2", "other", {}, 5)


# --- Redis away


@pytest.fixture
def mortal(io_loop, tmp_path):
    """A Redis of the test's own, to be killed."""
    server = EmbeddedRedis(tmp_path)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


def counted(name) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def told(topic, *buses):
    """A wait for every bus telling this topic from now on."""
    heard = [asyncio.Event() for _ in buses]
    for bus, event_heard in zip(buses, heard, strict=True):
        bus.on(topic, lambda payload, event_heard=event_heard: event_heard.set())
    return asyncio.gather(*(event_heard.wait() for event_heard in heard))


async def test_bus_survives_a_killed_redis_and_announces_itself_anew(mortal):
    async with processes(mortal.url, "p1", "p2") as (one, two):
        await one.present("patient")
        await two.present("doctor")
        away, back = told(AWAY, one, two), told(BACK, one, two)
        outages, dropped = counted("bus_outages_total"), counted("bus_events_dropped_total")
        with capture_logs() as logs:
            await mortal.kill()
            await away
            assert (one.available, two.available, counted("bus_available")) == (False, False, 0)
            for n in range(10):
                await one.publish([event("patient", "doctor", n=n)])
            await two.present("nurse")
            await two.absent("doctor")
            await one.broadcast("x", {})
            assert await one.is_online(["patient", "doctor"]) == {"patient"}
            assert [data["n"] for _, _, data in one.sockets.got] == list(range(10))
            await mortal.start()
            await back
            assert counted("bus_available") == 1
        assert [entry["event"] for entry in logs].count("bus.away") == 2  # one each, not one an event
        assert counted("bus_outages_total") - outages == 2
        assert counted("bus_events_dropped_total") - dropped == 10
        assert one.available
        assert await one.is_online(["patient", "doctor", "nurse"]) == {"patient", "nurse"}
        assert two.sockets.got == []
        await one.publish([event("nurse", n=99)])
        assert await two.sockets.until(1) == [(("nurse",), "message.created", {"n": 99})]


async def test_presence_is_there_again_after_redis_lost_everything(mortal, redis):
    async with processes(mortal.url, "p1", "p2") as (one, two):
        await two.present("doctor")
        away, back = told(AWAY, one, two), told(BACK, one, two)
        await mortal.kill()
        await away
        for file in (mortal.folder / "appendonlydir").iterdir():
            file.unlink()
        await mortal.start()
        await back
        assert await one.is_online(["doctor"]) == {"doctor"}


async def test_publish_into_a_redis_that_just_died_never_raises(mortal):
    async with processes(mortal.url, "p1", "p2") as (one, two):
        await two.present("doctor")
        publishing = spawn("publish", publish_until_away(one))
        await mortal.kill()
        await publishing
        with pytest.raises(BUS_AWAY):
            await one.request("p2", "x", {}, 5)
        await mortal.start()


class BreakingAtItsClose(Published):
    """A client whose subscriptions fail as they are closed, once, as on a connection that is just breaking."""

    broken = False

    def pubsub(self):
        subscription = self._redis.pubsub()
        close = subscription.aclose

        async def closing():
            await close()
            if not self.broken:
                self.broken = True
                raise ConnectionError("broken")

        subscription.aclose = closing
        return subscription


async def test_bus_ends_though_its_subscription_breaks_while_it_is_closed(redis_url):
    client = connect(redis_url)
    breaking = BreakingAtItsClose(client)
    bus = Bus(breaking, "p1")
    await bus.start()
    await bus.stop()
    assert (breaking.broken, bus.available, bus._tasks) == (True, False, set())
    await client.aclose()


async def publish_until_away(bus):
    while bus.available:
        await bus.publish([event("doctor", n=1)])
        await asyncio.sleep(0)


async def test_interrupted_subscription_is_made_anew(redis_url, redis):
    async with processes(redis_url, "p1", "p2") as (one, two):
        await two.present("doctor")
        back = told(BACK, one, two)
        await redis.client_kill_filter(_type="pubsub")
        await back
        await one.publish([event("doctor", n=1)])
        assert await two.sockets.until(1) == [(("doctor",), "message.created", {"n": 1})]


async def test_bus_starts_and_delivers_locally_without_redis(tmp_path):
    server = EmbeddedRedis(tmp_path)
    async with processes(server.url, "p1") as (one,):
        assert not one.available
        await one.present("a")
        await one.publish([event("a", n=1)])
        assert one.sockets.got == [(("a",), "message.created", {"n": 1})]
