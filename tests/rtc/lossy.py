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
    """Loses `loss` of the media each way (STUN and DTLS pass); nothing passes while `is_cut`."""

    def __init__(self, loss: float = 0.0, seed: int = 1) -> None:
        self._loss, self._random = loss, random.Random(seed)
        self._client: Any = None
        self._server: Any = None
        self.lost = self.passed = 0
        self.is_cut = False

    async def __aenter__(self) -> Self:
        await self._bind()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._unbind()

    async def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        self._near, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._up), local_addr=("127.0.0.1", 0))
        self._far, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._down), local_addr=("127.0.0.1", 0))

    def _unbind(self) -> None:
        self._near.close()
        self._far.close()

    async def move(self) -> None:
        """The line ends, and another from another address is there: what went through the old one is lost."""
        self._unbind()
        self._client = self._server = None
        await self._bind()
        self.is_cut = False

    def through(self, answer: str) -> str:
        """The server's answer with this line's address instead of its own ones; it leads to the first of them."""
        found = re.search(r"a=candidate:\S+ 1 udp \d+ ([\d.]+) (\d+) typ host", answer)
        assert found is not None
        self._server = (found[1], int(found[2]))
        here = f" 127.0.0.1 {self._near.get_extra_info('sockname')[1]} "
        lines = answer.split("\r\n")
        kept = [line for line in lines if line.startswith(found[0]) or not line.startswith("a=candidate:")]
        return "\r\n".join(kept).replace(f" {found[1]} {found[2]} ", here)

    def _up(self, data: bytes, address: Any) -> None:
        self._client = address
        if self._server is not None and not self._loses(data):
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
