"""The one clock of all sockets."""

import pytest

from im.frames import Close
from im.wheel import Wheel


class Socket:
    slot = 0

    def __init__(self, wheel):
        self.wheel, self.beats, self.ends, self.expires_at = wheel, 0, [], None

    def beat(self):
        self.beats += 1

    def end(self, code, reason=""):
        self.ends.append(code)
        self.wheel.remove(self, self.expires_at)


@pytest.fixture
def wheel():
    return Wheel(25)


def known(wheel, expires_at=1_000):
    socket = Socket(wheel)
    socket.expires_at = expires_at
    wheel.add(socket, expires_at)
    return socket


def test_every_socket_is_pinged_once_a_heartbeat_at_its_own_phase(wheel):
    sockets = [known(wheel) for _ in range(500)]
    in_turn = []
    for second in range(25):
        before = sum(socket.beats for socket in sockets)
        wheel.turn(second, 0)
        in_turn.append(sum(socket.beats for socket in sockets) - before)
    assert {socket.beats for socket in sockets} == {1}
    assert max(in_turn) < 100


def test_a_stranger_has_five_seconds(wheel):
    socket = Socket(wheel)
    wheel.await_hello(socket, 10.0)
    wheel.turn(14.9, 0)
    assert socket.ends == []
    wheel.turn(15.0, 0)
    wheel.turn(16.0, 0)
    assert socket.ends == [Close.UNAUTHENTICATED]


def test_a_token_ends_its_socket_unless_renewed(wheel):
    ending, renewed = known(wheel, 100), known(wheel, 100)
    wheel.renew(renewed, 100, 200)
    renewed.expires_at = 200
    wheel.turn(0, 99.9)
    assert ending.ends == []
    wheel.turn(1, 100)
    assert (ending.ends, renewed.ends) == ([Close.UNAUTHENTICATED], [])
    wheel.turn(2, 250)
    assert renewed.ends == [Close.UNAUTHENTICATED]


def test_one_that_has_said_hello_is_no_stranger_and_a_removed_one_is_forgotten(wheel):
    socket = Socket(wheel)
    wheel.await_hello(socket, 0)
    socket.expires_at = 50
    wheel.add(socket, 50)
    assert wheel.strangers() == []
    wheel.remove(socket, 50)
    for second in range(60):
        wheel.turn(second, second)
    assert (socket.beats, socket.ends, dict(wheel._expiring)) == (0, [], {})
