"""A bad line: a UDP proxy between client and server that loses some datagrams, the same ones with the same seed."""

import asyncio
import random
import re
from typing import Any, Self


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, received: Any) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)


class LossyLine:
    """Loses `loss` of the media each way (STUN and DTLS pass). `cut` is a line that is dead for a while."""

    def __init__(self, loss: float = 0.0, seed: int = 1) -> None:
        self._loss, self._random = loss, random.Random(seed)
        self._client: Any = None
        self._server: Any = None
        self.lost = self.passed = 0
        self.is_cut = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._near, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._up), local_addr=("127.0.0.1", 0))
        self._far, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._down), local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._near.close()
        self._far.close()

    def through(self, answer: str) -> str:
        """The server's answer with this line's address instead of its own."""
        found = re.search(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", answer)
        assert found is not None
        self._server = (found[1], int(found[2]))
        port = str(self._near.get_extra_info("sockname")[1])
        return re.sub(r"(a=candidate:\S+ 1 udp \d+ \S+ )\d+( typ host)", rf"\g<1>{port}\2", answer)

    def _up(self, data: bytes, address: Any) -> None:
        self._client = address
        if not self._loses(data):
            self._far.sendto(data, self._server)

    def _down(self, data: bytes, address: Any) -> None:
        if self._client is not None and not self._loses(data):
            self._near.sendto(data, self._client)

    def _loses(self, data: bytes) -> bool:
        if self.is_cut:
            return True
        if 128 <= data[0] < 192 and self._random.random() < self._loss:
            self.lost += 1
            return True
        self.passed += 1
        return False
