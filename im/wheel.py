"""One clock for all sockets of a process: pings at each one's own phase, hellos that do not come, tokens that end."""

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from im.frames import Close

if TYPE_CHECKING:
    from im.socket import ChatSocket

HELLO_SECONDS: Final = 5.0


class Wheel:
    """Turned once a second by the hub. A socket costs an entry in two sets, no task and no timer."""

    def __init__(self, heartbeat_seconds: int) -> None:
        self._slots: list[set[ChatSocket]] = [set() for _ in range(heartbeat_seconds)]
        self._hand = 0
        self._strangers: dict[ChatSocket, float] = {}
        self._expiring: defaultdict[int, set[ChatSocket]] = defaultdict(set)

    def await_hello(self, socket: "ChatSocket", now: float) -> None:
        """A connection that must say who it is within five seconds; `now` is of the loop's clock."""
        self._strangers[socket] = now + HELLO_SECONDS

    def add(self, socket: "ChatSocket", expires_at: int) -> None:
        """It has said hello: ping it, at a phase of its own, and end it when its token does (epoch seconds)."""
        self._strangers.pop(socket, None)
        socket.slot = random.randrange(len(self._slots))  # noqa: S311 - spread, not secrecy
        self._slots[socket.slot].add(socket)
        self._expiring[expires_at].add(socket)

    def renew(self, socket: "ChatSocket", was: int, expires_at: int) -> None:
        """Its token has been renewed."""
        self._let_expire(socket, was)
        self._expiring[expires_at].add(socket)

    def remove(self, socket: "ChatSocket", expires_at: int | None) -> None:
        """It has closed."""
        self._strangers.pop(socket, None)
        self._slots[socket.slot].discard(socket)
        if expires_at is not None:
            self._let_expire(socket, expires_at)

    def strangers(self) -> "list[ChatSocket]":
        """Connections that have not said hello."""
        return list(self._strangers)

    def _let_expire(self, socket: "ChatSocket", at: int) -> None:
        expiring = self._expiring.get(at)
        if expiring is not None:
            expiring.discard(socket)
            if not expiring:
                del self._expiring[at]

    def turn(self, now: float, epoch: float) -> None:
        """One second on: `now` of the loop's clock, `epoch` of the house's."""
        for socket in [stranger for stranger, until in self._strangers.items() if until <= now]:
            socket.end(Close.UNAUTHENTICATED, "no hello in time")
        for second in [second for second in self._expiring if second <= epoch]:
            for socket in list(self._expiring.get(second, ())):
                socket.end(Close.UNAUTHENTICATED, "the token has expired")
        self._hand = (self._hand + 1) % len(self._slots)
        for socket in list(self._slots[self._hand]):
            socket.beat()
