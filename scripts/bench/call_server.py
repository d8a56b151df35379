"""What carries the calls of a load: `python -m scripts.bench.call_server ours|stock FOLDER`.

`ours` is the media half of calls with its recorder; `stock` is what aiortc brings, `MediaRelay` and `MediaRecorder`. It
prints its port and answers lines of JSON on it: offers with answers, and `lag` with how late its loop has been.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRecorder, MediaRelay

from core import tasks
from rtc.media import Quality, Room, Side
from rtc.recordings import Recordings
from rtc.room import open_rooms
from rtc.threads import Threads
from rtc.wire import Addresses
from scripts.bench.figures import percentile

HOST: Final = "127.0.0.1"
ADDRESSES: Final[Addresses] = (HOST,)
# Seldom enough not to be seen in what a single call costs.
_PROBE_SECONDS: Final = 0.04
_LINE_BYTES: Final = 1024 * 1024


class Calls(Protocol):
    """Either way of carrying calls."""

    async def offer(self, call: str, side: Side, sdp: str) -> str:
        """The answer."""

    async def close(self) -> None:
        """End every call; its recordings are complete."""


class Quiet:
    """`RoomEvents` that nobody listens to; failures are counted."""

    def __init__(self) -> None:
        self.failures = 0

    def connected(self, side: Side, generation: int) -> None:
        """Expected."""

    def silent(self, side: Side, generation: int, silence: str) -> None:
        """A client that has ended."""

    def heard(self, side: Side, generation: int) -> None:
        """Expected."""

    def failed(self, side: Side, generation: int, reason: str) -> None:
        """A client that has ended, or a call that could not be set up; the load sees what it did not get."""

    def quality(self, side: Side, generation: int, quality: Quality) -> None:
        """Not looked at."""

    def recorder_failed(self, side: Side, generation: int, reason: str) -> None:
        """What is measured must be recorded."""
        self.failures += 1


class Ours:
    """Rooms."""

    def __init__(self, folder: Path) -> None:
        self._threads = Threads()
        self._open = open_rooms(Recordings(folder, self._threads), addresses=ADDRESSES)
        self._events = Quiet()
        self._rooms: dict[str, Room] = {}

    async def offer(self, call: str, side: Side, sdp: str) -> str:
        """See `Calls`."""
        if call not in self._rooms:
            self._rooms[call] = await self._open(call, "video", self._events)
        return await self._rooms[call].offer(side, 1, sdp, ())

    async def close(self) -> None:
        """See `Calls`; RuntimeError when a recorder failed."""
        await asyncio.gather(*(room.close() for room in self._rooms.values()))
        self._threads.close()
        if self._events.failures:
            raise RuntimeError(f"{self._events.failures} recorders failed")


class Stock:
    """aiortc's own relay and recorder, as its examples use them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._relay = MediaRelay()
        self._waiting: dict[str, RTCPeerConnection] = {}
        self._connections: list[RTCPeerConnection] = []
        self._recorders: list[MediaRecorder] = []

    async def offer(self, call: str, side: Side, sdp: str) -> str:
        """See `Calls`."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connections.append(connection)
        for kind in ("audio", "video"):
            connection.addTransceiver(kind, direction="sendrecv")
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        recorder = MediaRecorder(str(self._folder / f"{call}-{side}.webm"))
        for receiver in connection.getReceivers():
            recorder.addTrack(self._relay.subscribe(receiver.track))
        self._recorders.append(recorder)
        other = self._waiting.pop(call, None)
        if other is None:
            self._waiting[call] = connection
        else:
            for near, far in ((connection, other), (other, connection)):
                for sender, receiver in zip(near.getSenders(), far.getReceivers(), strict=True):
                    sender.replaceTrack(self._relay.subscribe(receiver.track))
        at_loopback(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        await recorder.start()
        return str(connection.localDescription.sdp)

    async def close(self) -> None:
        """See `Calls`."""
        for recorder in self._recorders:
            await recorder.stop()
        for connection in self._connections:
            await connection.close()


def at_loopback(connection: RTCPeerConnection) -> None:
    """Gather at the loopback interface, which aioice leaves out."""
    ice: Any = connection.getTransceivers()[0].receiver.transport.transport._connection
    gather = ice.get_component_candidates
    ice.get_component_candidates = lambda component, addresses, timeout=5: gather(component, ADDRESSES, timeout)


KINDS: Final[dict[str, Callable[[Path], Calls]]] = {"ours": Ours, "stock": Stock}


class Lag:
    """How late the loop is with a timer."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due = time.perf_counter() + _PROBE_SECONDS
            await asyncio.sleep(_PROBE_SECONDS)
            self.late.append(max(0.0, time.perf_counter() - due))

    def take(self) -> dict[str, float]:
        """Milliseconds since the last time this was asked."""
        late, self.late = self.late, []
        return {"p99_ms": percentile(late, 0.99) * 1000 if late else 0.0}


class Door:
    """Answers each line of JSON with one."""

    def __init__(self, calls: Calls, lag: Lag) -> None:
        self._operations: dict[str, Callable[..., Awaitable[Any]]] = {"offer": calls.offer, "lag": self._take_lag}
        self._lag = lag

    async def _take_lag(self) -> dict[str, float]:
        return self._lag.take()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it hangs up."""
        while line := await reader.readline():
            asked = json.loads(line)
            answer = await self._operations[asked.pop("op")](**asked)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


async def run(kind: str, folder: Path) -> None:
    """Until standard input is closed."""
    # As a media process has to: walking through all loaded code stopped the loop for 50 to 130 ms.
    gc.collect()
    gc.freeze()
    calls, lag = KINDS[kind](folder), Lag()
    watching = tasks.spawn("bench.lag", lag.watch())
    server = await asyncio.start_server(Door(calls, lag).serve, HOST, 0, limit=_LINE_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    await tasks.stop(watching)
    await calls.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], Path(sys.argv[2])))
