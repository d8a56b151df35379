"""Who reads a conversation's history over REST while it is being written, and must find it as everybody else does."""

import asyncio
import random
from array import array
from collections import Counter
from typing import Final

import httpx

from scripts.soak.member import Seat
from scripts.soak.verdict import place_of

PAGE: Final = 100
# Between two looks: half of them find the process dead, or new.
_PAUSE_SECONDS: Final = (0.05, 0.5)
_AWAY: Final = 503


class Reader:
    """Reads upwards from what it holds; `heard` as of a member."""

    def __init__(self, seat: Seat, http: httpx.AsyncClient, url: str, chance: random.Random) -> None:
        self.heard = array("Q")
        self.counted: Counter[str] = Counter()
        self.faults: list[str] = []
        self.seat = seat
        self._http = http
        self._url = f"{url}/api/v1/visits/{seat.conversation}/messages"
        self._chance = chance

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._chance.uniform(*_PAUSE_SECONDS))

    async def look(self) -> bool:
        """Read on to the end; False: the API did not answer, or answered that a store is away."""
        more = True
        while more:
            try:
                answer = await self._http.get(
                    self._url,
                    params={"after": len(self.heard), "limit": PAGE},
                    headers={"Authorization": f"Bearer {self.seat.token}"},
                )
            except httpx.TransportError:
                self.counted["unreachable"] += 1
                return False
            if answer.status_code == _AWAY:
                self.counted["away"] += 1
                return False
            if not answer.is_success:
                self.faults.append(f"the history was refused with {answer.status_code}")
                return False
            page = answer.json()
            for message in page["items"]:
                self._take(message)
            more = page["more"]
        return True

    def _take(self, message: dict[str, object]) -> None:
        if message["seq"] != len(self.heard) + 1:
            self.faults.append("a page of the history had a hole")
            return
        author, body = message["from"], message["body"]
        assert isinstance(author, dict)
        assert isinstance(body, dict)
        self.heard.append(place_of(self.seat.senders[author["account"]], int(body["text"])))
