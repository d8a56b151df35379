"""Tells the merchant what happened, again and again until it says 200 or 204 (pay.weixin.qq.com/doc/v3, 支付通知)."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from simulators.wechat_pay import documents
from simulators.wechat_pay.bank import Bank
from simulators.wechat_pay.faults import Faults
from simulators.wechat_pay.keys import Keys
from simulators.wechat_pay.signing import encrypt_resource, signed_headers
from simulators.wechat_pay.state import Notification, State

log = logging.getLogger(__name__)

# Seconds to the next try; after the last the merchant must ask (24 h 4 min in all).
WAITS = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
# How long the merchant may take to answer.
PATIENCE = 5.0
# How many messages are on their way at once: enough for a load run, few enough for one client's sockets.
AT_ONCE = 32


class Courier:
    """Sends what is due and settles refunds whose time has come. `start()` inside the loop, `stop()` at the end."""

    def __init__(self, keys: Keys, state: State, bank: Bank, now: Callable[[], float]) -> None:
        self._keys = keys
        self._state = state
        self._bank = bank
        self._now = now
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._client: SimpleAsyncHTTPClient | None = None

    def wake(self) -> None:
        """Look at once for what is due."""
        self._idle.clear()
        self._wake.set()

    def start(self) -> None:
        """Begin, with whatever an earlier run left."""
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=AT_ONCE)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="wechat_pay courier")
        self._task.add_done_callback(_log_failure)

    async def stop(self) -> None:
        """Drop what is under way; it is due again at the next start."""
        await _cancel([task for task in (self._task, *self._under_way.values()) if task is not None])
        if self._client is not None:
            self._client.close()

    async def idle(self) -> None:
        """Wait until nothing is under way and nothing is due, now or later."""
        await self._idle.wait()

    async def drop(self) -> None:
        """Forget the tries that are under way, before what they tell is forgotten."""
        await _cancel(list(self._under_way.values()))

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            self._bank.settle_due()
            for notification in self._state.notifications_to_send(self._now()):
                self._launch(notification)
            await self._wait()

    async def _wait(self) -> None:
        """Until something is due, or until woken; with no place free, a landing wakes."""
        due = self._state.next_due(self._under_way.keys())
        if due is None and not self._under_way:
            self._idle.set()
        sleeps = None if due is None or len(self._under_way) >= AT_ONCE else max(0.0, due - self._now())
        try:
            async with asyncio.timeout(sleeps):
                await self._wake.wait()
        except TimeoutError:
            return

    def _launch(self, notification: Notification) -> None:
        number = notification.number
        if number is None or number in self._under_way or len(self._under_way) >= AT_ONCE:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(notification), name=f"notification {number}")
        self._under_way[number] = task
        task.add_done_callback(lambda done: self._landed(number, done))

    def _landed(self, number: int, task: asyncio.Task[None]) -> None:
        del self._under_way[number]
        _log_failure(task)
        self._wake.set()

    async def _deliver(self, notification: Notification) -> None:
        faults = self._state.faults()
        notification.last_status = await self._post(notification, faults)
        notification.attempts += 1
        notification.next_at = None
        if notification.kind == "probe":
            notification.state = "probed"
        elif notification.last_status in (200, 204):
            notification.state = "delivered"
        elif notification.attempts > len(WAITS):
            notification.state = "given_up"
        else:
            notification.next_at = self._now() + WAITS[notification.attempts - 1] * self._state.faults().retry_scale
        self._state.save(notification)

    async def _post(self, notification: Notification, faults: Faults) -> int | None:
        """One try; answers the HTTP status, None when there was no answer in time."""
        body = self._envelope(notification, faults)
        signed = signed_headers(
            self._keys, body, self._now(), forged=faults.forge_signature, probe=notification.kind == "probe"
        )
        request = HTTPRequest(
            notification.url,
            method="POST",
            body=body,
            headers=signed | {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0"},
            request_timeout=PATIENCE,
            connect_timeout=PATIENCE,
            follow_redirects=False,
        )
        if self._client is None:
            raise RuntimeError("the courier has not been started")
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (HTTPTimeoutError, HTTPClientError, OSError) as failure:
            log.info("notification %s not delivered: %s", notification.event_id, type(failure).__name__)
            return None
        return answer.code

    def _envelope(self, notification: Notification, faults: Faults) -> bytes:
        content: dict[str, Any] = json.loads(notification.content)
        told = "refund" if notification.original_type == "refund" else "total"
        content["amount"][told] += faults.wrong_amount
        document = {
            "id": notification.event_id,
            "create_time": documents.rfc3339(notification.created_at),
            "event_type": notification.event_type,
            "resource_type": "encrypt-resource",
            "summary": notification.summary,
            "resource": encrypt_resource(self._keys, notification.original_type, content),
        }
        return json.dumps(document, ensure_ascii=False).encode()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s failed", task.get_name(), exc_info=task.exception())
