"""The media port, and who knocks at it."""

import asyncio
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtc.wire import QUEUED_DATAGRAMS, WRITE_BUFFER_BYTES, Wire
from tests.im.house import until
from tests.rtc.rooms import hall

pytestmark = pytest.mark.gen_test(timeout=60)


def port_of(room, side="doctor"):
    """Where a leg listens."""
    return room._seats[side].leg.wire._ice._nominated[1].protocol.local_candidate.port


def rubbish(seed, count):
    """Datagrams of every kind that the port tells apart by their first byte."""
    chance = random.Random(seed)
    for _ in range(count):
        first = chance.choice((0, 1, 22, 23, 63, 64, 128, 144, 191, 255))
        yield bytes((first,)) + chance.randbytes(chance.choice((0, 1, 11, 12, 40, 1200, 9000)))


async def test_strangers_disturb_neither_the_call_nor_another(tmp_path):
    async with hall(tmp_path / "1") as here, hall(tmp_path / "2") as there:
        peers = [await one.enter(side) for one in (here, there) for side in ("doctor", "patient")]
        await asyncio.gather(*(peer.gets(audio=2, video=2) for peer in peers))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for datagram in rubbish(7, 1000):
                stranger.sendto(datagram, ("127.0.0.1", port_of(here.room)))
                await asyncio.sleep(0)
        wire = here.room._seats["doctor"].leg.wire
        await until(lambda: wire.refused > 200)
        await asyncio.gather(*(peer.gets(audio=20, video=5) for peer in peers))
        for one in (here, there):
            assert one.heard.named("failed", "recorder_failed", "silent") == []


async def test_a_flood_before_the_handshake_is_not_kept(tmp_path):
    async with hall(tmp_path) as here:
        peer = here.peer()
        answer = await here.room.offer("doctor", 1, await peer.offer(), ())
        wire = here.room._seats["doctor"].leg.wire
        port = wire._ice._protocols[0].local_candidate.port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(500):
                stranger.sendto(b"\x16" + bytes(1000), ("127.0.0.1", port))
                if number % 50 == 0:
                    await asyncio.sleep(0.001)
        await until(lambda: wire.refused > 0)
        assert wire._ice._queue.qsize() <= QUEUED_DATAGRAMS
        await peer.accept(answer)
        await here.heard.until("connected", "doctor", 1)


class Pair:
    """A nominated pair whose socket is full."""

    def __init__(self, waiting):
        self.protocol = self
        self.transport = self
        self.remote_addr = ("192.0.2.1", 9)
        self.waiting = waiting
        self.sent = []

    def get_write_buffer_size(self):
        return self.waiting

    def sendto(self, data, address):
        self.sent.append((data, address))


class Plain:
    """A DTLS transport whose cipher does nothing."""

    def __init__(self, pair):
        self.transport = self
        self._connection = self
        self._nominated = {1: pair} if pair else {}
        self._protocols = []
        self._queue = asyncio.Queue()
        self._rx_srtp = self._tx_srtp = self
        self._ssl = None
        self.protect = self.protect_rtcp = self.unprotect = self.unprotect_rtcp = lambda data: data


async def test_a_socket_that_takes_nothing_keeps_nothing():
    pair = Pair(WRITE_BUFFER_BYTES + 1)
    wire = Wire(Plain(pair), print, print)
    wire.send_rtp(b"late")
    assert (pair.sent, wire.dropped) == ([], 1)
    pair.waiting = 0
    wire.send_rtp(b"rtp")
    wire.send_rtcp(b"rtcp")
    assert [data for data, _ in pair.sent] == [b"rtp", b"rtcp"]
    assert (wire.sent, wire.dropped) == (2, 1)


async def test_nothing_is_sent_without_a_way():
    wire = Wire(Plain(None), print, print)
    wire.send_rtp(b"rtp")
    assert (wire.sent, wire.dropped, wire.cipher) == (0, 0, "")


@given(st.binary(max_size=60))
def test_every_datagram_goes_to_one_place_or_nowhere(data):
    media, control, others = [], [], []
    with asyncio.Runner() as runner:
        runner.run(_receive(data, media, control, others))
    assert len(media) + len(control) + len(others) <= 1
    if media:
        assert data[0] in range(128, 192)


async def _receive(data, media, control, others):
    wire = Wire(Plain(None), media.append, control.append)

    def original(data, address):
        others.append(data)
        raise IndexError("a parser that is not ours")

    wire._received(original, data, ("192.0.2.1", 9))
    assert wire.received + wire.refused <= 1
