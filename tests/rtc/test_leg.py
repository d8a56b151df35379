"""One participant's connection."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtc.ice import read_offer
from rtc.leg import Leg
from rtc.media import IceServer, OfferRefused
from tests.im.house import until
from tests.rtc.offers import CANDIDATE, GOOD, UNREADABLE, text
from tests.rtc.peers import LOOPBACK, Peer

pytestmark = pytest.mark.gen_test(timeout=30)


class Told:
    """What a leg tells its room."""

    def __init__(self):
        self.began, self.broke = asyncio.Event(), asyncio.Event()
        self.reason = None

    def leg(self, ice_servers=()):
        return Leg("doctor", 1, ice_servers, began=lambda leg: self.began.set(), broke=self._break)

    def _break(self, leg, reason):
        assert self.reason is None
        self.reason = reason
        self.broke.set()


async def answered(leg, peer, addresses=LOOPBACK):
    answer = await leg.answer(read_offer(await peer.offer(), "video"), None, addresses)
    await peer.accept(answer)
    return answer


async def test_the_library_sends_and_receives_no_media_itself():
    told, peer = Told(), Peer()
    leg = told.leg()
    answer = await answered(leg, peer)
    await asyncio.wait_for(told.began.wait(), 20)
    assert "a=setup:passive" in answer
    assert leg.kinds == {"audio", "video"}
    assert {kind: codec.name for kind, codec in leg.preferred.items()} == {"audio": "opus", "video": "vp8"}
    for transceiver in leg._connection.getTransceivers():
        assert not transceiver.sender._RTCRtpSender__started
        assert not transceiver.receiver._RTCRtpReceiver__started
    assert leg.wire.received > 0
    await leg.close()
    await leg.close()
    assert told.reason is None
    await peer.close()


async def test_a_client_that_ends_the_connection_is_told_once():
    told, peer = Told(), Peer()
    leg = told.leg()
    await answered(leg, peer)
    await asyncio.wait_for(told.began.wait(), 20)
    await peer.close()
    await asyncio.wait_for(told.broke.wait(), 20)
    assert told.reason == "connection_closed"
    await leg.close()


@pytest.mark.parametrize(("sdp", "reason"), UNREADABLE.items(), ids=range(len(UNREADABLE)))
async def test_what_only_the_library_finds_is_refused_too(sdp, reason):
    leg = Told().leg()
    with pytest.raises(OfferRefused) as refusal:
        await leg.answer(read_offer(sdp, "video"), None, LOOPBACK)
    assert refusal.value.reason == reason
    await leg.close()


LINES = st.sampled_from(GOOD).flatmap(
    lambda line: st.integers(0, len(line)).map(lambda place: line[:place] + "9") | st.just(line)
) | st.sampled_from(
    [CANDIDATE, "a=candidate:x", "a=extmap:1 x", "a=rtcp-fb:* nack", "a=ssrc:9", "a=simulcast:send 1;2"]
)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, len(GOOD)), st.integers(0, 3), st.lists(LINES, max_size=4))
def test_an_offer_that_was_tampered_with_is_answered_or_refused_and_leaves_nothing(place, removed, added):
    sdp = text(*GOOD[:place], *added, *GOOD[place + removed :])

    async def answer():
        leg = Told().leg()
        with suppress(OfferRefused):
            assert "a=setup:passive" in await leg.answer(read_offer(sdp, "video"), None, LOOPBACK)
        await leg.close()
        await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]

    with asyncio.Runner() as runner:
        failures = []
        runner.get_loop().set_exception_handler(lambda loop, context: failures.append(context))
        assert runner.run(answer()) == []
    assert failures == []


async def test_a_machine_without_an_address_is_unreachable():
    leg, peer = Told().leg(), Peer()
    with pytest.raises(OfferRefused, match="unreachable"):
        await answered(leg, peer, ())
    await leg.close()
    await peer.close()


async def test_servers_that_do_not_answer_do_not_hold_up_the_answer():
    """Port 9 of the loopback interface: nobody is there."""
    leg, peer = (
        Told().leg([IceServer(("stun:127.0.0.1:9",)), IceServer(("turn:127.0.0.1:9",), "user", "secret")]),
        Peer(),
    )
    alive = asyncio.all_tasks()
    begun = asyncio.get_running_loop().time()
    await answered(leg, peer)
    assert asyncio.get_running_loop().time() - begun < 8
    await leg.close()
    await peer.close()
    await until(lambda: asyncio.all_tasks() <= alive)


async def test_a_leg_that_was_never_answered_closes():
    leg = Told().leg()
    await leg.add_candidates([{"candidate": "x"}])
    await leg.close()
    assert leg.wire is None


async def test_a_client_that_never_comes_leaves_nothing_once_it_was_given_up():
    leg, peer, alive = Told().leg(), Peer(), asyncio.all_tasks()
    await leg.answer(read_offer(await peer.offer(), "video"), None, LOOPBACK)
    await leg.close()
    await peer.close()
    await until(lambda: asyncio.all_tasks() <= alive)
