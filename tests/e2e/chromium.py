"""Debian's Chromium without a screen, with made-up cameras and microphones, driven over its DevTools protocol."""

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import tornado.websocket

from core import tasks

STARTING_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 60.0
_SWITCHES: Final = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers; it only ever opens our own pages
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--remote-debugging-port=0",
)
_PORT_FILE: Final = "DevToolsActivePort"


class PageFailed(AssertionError):
    """A script of the page threw, or the browser refused a command."""


class Page:
    """One tab of its own browser context: what it stores is nobody else's."""

    def __init__(self, chromium: "Chromium", session: str) -> None:
        self._chromium, self._session = chromium, session

    async def call(self, script: str, *arguments: Any) -> Any:
        """Evaluate `script(…arguments)` in the page, wait for its promise, and return what JSON can carry of it."""
        expression = f"({script})({', '.join(json.dumps(one) for one in arguments)})"
        how = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        said = await self._chromium.send("Runtime.evaluate", how, self._session)
        if "exceptionDetails" in said:
            thrown = said["exceptionDetails"]
            raise PageFailed(thrown.get("exception", {}).get("description") or thrown["text"])
        return said["result"].get("value")


class Chromium:
    """One running browser."""

    def __init__(self, socket: tornado.websocket.WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._events: dict[tuple[str, str], asyncio.Event] = {}
        self._reading = tasks.spawn("chromium.read", self._read())

    async def _read(self) -> None:
        while (text := await self._socket.read_message()) is not None:
            said = json.loads(text)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            elif (event := self._events.get((said.get("sessionId", ""), said["method"]))) is not None:
                event.set()
        for waiting in self._waiting.values():
            waiting.set_exception(PageFailed("the browser went away"))

    async def send(self, method: str, how: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": how or {}}
        await self._socket.write_message(json.dumps(command | ({"sessionId": session} if session else {})))
        said = await asyncio.wait_for(answer, ANSWER_SECONDS)
        if "error" in said:
            raise PageFailed(f"{method}: {said['error']['message']}")
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> Page:
        """A new tab in a new context, once its page has loaded."""
        context = await self.send("Target.createBrowserContext")
        target = await self.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": context["browserContextId"]}
        )
        attached = await self.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        session = attached["sessionId"]
        loaded = self._events[session, "Page.loadEventFired"] = asyncio.Event()
        await self.send("Page.enable", session=session)
        await self.send("Page.navigate", {"url": url}, session)
        await asyncio.wait_for(loaded.wait(), ANSWER_SECONDS)
        return Page(self, session)

    async def close(self) -> None:
        """Hang up."""
        self._socket.close()
        await tasks.stop(self._reading)


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Chromium]:
    """A browser with an empty profile in `folder`; it has ended afterwards."""
    program = shutil.which("chromium")
    assert program is not None, "scripts/test --system installs Debian's chromium"
    process = await asyncio.create_subprocess_exec(
        program,
        *_SWITCHES,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        socket = await tornado.websocket.websocket_connect(await _address(folder), max_message_size=64 << 20)
        browser = Chromium(socket)
        try:
            yield browser
            await browser.send("Browser.close")
            await asyncio.wait_for(process.wait(), STARTING_SECONDS)
        finally:
            await browser.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _address(folder: Path) -> str:
    """Of the browser's own DevTools target; it writes both lines when it listens."""
    file = folder / _PORT_FILE
    async with asyncio.timeout(STARTING_SECONDS):
        while not (file.exists() and len(lines := file.read_text().split()) == 2):  # noqa: ASYNC110 -- another process' file
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
