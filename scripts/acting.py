"""Acting as the people of the hospital over real HTTP and websockets: for the walkthrough, the journeys and load tools.

A `Person` logs in, calls and chats as their own program would; `Outside` plays what happens on the simulators' side (a
text message is read, a payment is confirmed in WeChat). Whatever is not as promised raises `NotAsPromised`.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

WAIT_SECONDS = 10.0


class NotAsPromised(Exception):
    """The hospital answered something else than its contract says."""


class Refused(Exception):
    """The hospital refused with this stable code."""

    def __init__(self, code: str, body: Any = None) -> None:
        super().__init__(code)
        self.code = code
        self.body = body


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = WAIT_SECONDS) -> None:
    """Ask until it holds; `NotAsPromised` when it does not in time. For what is only seen by asking again."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 -- the other side has no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise NotAsPromised(f"{holds.__name__} did not become true within {seconds} s") from error


@dataclass(frozen=True)
class Outside:
    """The simulators' control pages; addresses without a trailing slash."""

    http: httpx.AsyncClient
    wechat_pay: str
    wechat_login: str
    sms: str
    identity: str

    async def wechat_codes(self, phone: str, app: str = "patient") -> dict[str, str]:
        """What `wx.login` and the phone-number button give a mini-program: `login_code` and `phone_code`."""
        answer = await self.http.post(f"{self.wechat_login}/_control/codes", json={"phone": phone, "app": app})
        codes: dict[str, str] = answer.raise_for_status().json()
        return codes

    async def text_message_code(self, phone: str) -> str:
        """The code in the last text message to this phone that holds one."""
        answer = await self.http.get(f"{self.sms}/_control/sms", params={"phone": phone, "template": "login_code"})
        return str(answer.raise_for_status().json()["code"])

    async def text_messages(self, phone: str, template: str) -> int:
        """How many text messages of the template this phone has got."""
        answer = await self.http.get(f"{self.sms}/_control/sms", params={"phone": phone, "template": template})
        return int(answer.json()["count"]) if answer.is_success else 0

    async def allow_messages(self, phone: str, count: int = 1, app: str = "patient") -> None:
        """Accept so many more subscribe messages, as the user of this phone does in the mini-program."""
        body = {"app": app, "phone": phone, "count": count}
        (await self.http.post(f"{self.wechat_login}/_control/permissions", json=body)).raise_for_status()

    async def subscribe_messages(self, phone: str, app: str = "patient") -> list[dict[str, Any]]:
        """The subscribe messages that the user of this phone has got, oldest first."""
        answer = await self.http.get(f"{self.wechat_login}/_control/messages", params={"app": app, "phone": phone})
        messages: list[dict[str, Any]] = answer.raise_for_status().json()
        return messages

    async def pay(self, order_id: str) -> None:
        """Confirm the payment in WeChat, as the user would."""
        (await self.http.post(f"{self.wechat_pay}/_control/pay/{order_id}")).raise_for_status()


class Person:
    """Somebody with a program that speaks to the hospital."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self.url = url
        self.token = ""
        self.refresh_token = ""
        self.account: dict[str, Any] = {}

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        query: dict[str, Any] | None = None,
    ) -> Any:
        """One REST call under /api/v1; the body of the answer, or `Refused`. `key` is the Idempotency-Key."""
        answer = await self.send(method, path, json=body, key=key, params=query)
        if answer.status_code >= 400:
            problem = answer.json()
            raise Refused(problem["code"], problem)
        return answer.json() if answer.content else None

    async def send(
        self, method: str, path: str, *, key: str | None = None, headers: dict[str, str] | None = None, **given: Any
    ) -> httpx.Response:
        """One request under /api/v1 with the person's token; the answer whatever its status."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key is not None:
            sent["Idempotency-Key"] = key
        return await self._http.request(
            method, f"{self.url}/api/v1{path}", headers={**sent, **(headers or {})}, **given
        )

    async def get(self, path: str, **query: Any) -> Any:
        """GET."""
        return await self.call("GET", path, query=query or None)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """POST."""
        return await self.call("POST", path, body, key=key)

    async def login(self, **how: Any) -> Self:
        """POST /auth/login and keep the tokens."""
        answer = await self.post("/auth/login", how)
        self.token, self.refresh_token = answer["access_token"], answer["refresh_token"]
        self.account = answer["account"]
        return self

    async def login_by_password(self, account: str, password: str) -> Self:
        """Staff, by account and password."""
        return await self.login(audience="staff", method="password", account=account, password=password)

    async def login_by_wechat(self, outside: Outside, phone: str, audience: str = "patient") -> Self:
        """One tap in the mini-program."""
        codes = await outside.wechat_codes(phone, audience)
        return await self.login(
            audience=audience, method="wechat", login_code=codes["login_code"], phone_code=codes["phone_code"]
        )

    async def login_by_text_message(self, outside: Outside, phone: str, audience: str = "patient") -> Self:
        """By the code in a text message."""
        await self.post("/auth/sms-codes", {"phone": phone, "purpose": "login"})
        code = await outside.text_message_code(phone)
        return await self.login(audience=audience, method="sms", phone=phone, code=code)

    async def upload(self, content: bytes, mime: str) -> dict[str, Any]:
        """POST /media."""
        answer = await self.send("POST", "/media", content=content, headers={"Content-Type": mime})
        if answer.status_code != 201:
            raise Refused(answer.json()["code"], answer.json())
        medium: dict[str, Any] = answer.json()
        return medium

    async def connect(self, device: str | None = None) -> "Line":
        """A websocket that has said hello."""
        line = await Line.open(self.url)
        try:
            await line.request("hello", token=self.token, device=device or secrets.token_hex(8), client="acting")
        except BaseException:
            await line.close()
            raise
        return line


class Line:
    """One websocket: requests are answered by id, events are kept in the order of their arrival."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._arrived = asyncio.Condition()
        self.events: deque[dict[str, Any]] = deque()
        self.closed = asyncio.Event()
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def open(cls, url: str, **options: Any) -> Self:
        """Connect without a hello."""
        request = HTTPRequest(url.replace("http", "ws", 1) + "/ws", **options)
        return cls(await websocket_connect(request))

    @property
    def close_code(self) -> int | None:
        """Why the server closed, None while open."""
        return self._connection.close_code

    async def request(self, op: str, /, id: str | None = None, **args: Any) -> Any:
        """The reply's data, or `Refused` with its code."""
        name = id or secrets.token_hex(8)
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[name] = waiting
        await self.write({"id": name, "op": op, "args": args})
        return await asyncio.wait_for(waiting, WAIT_SECONDS)

    async def write(self, frame: Any) -> None:
        """Send one frame as it is."""
        await self._connection.write_message(json.dumps(frame, ensure_ascii=False))

    async def say(self, conversation: str, said: str, **named: Any) -> Any:
        """message.send of a text."""
        return await self.request("message.send", conversation=conversation, kind="text", body={"text": said}, **named)

    async def next_event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The next event of this name whose data has these values; those before it are dropped."""

        def found() -> dict[str, Any] | None:
            while self.events:
                event = self.events.popleft()
                if event["ev"] == name and wanted.items() <= event["data"].items():
                    data: dict[str, Any] = event["data"]
                    return data
            return None

        async with self._arrived:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    if (data := found()) is not None:
                        return data
                    if self.closed.is_set():
                        raise NotAsPromised(f"closed with {self.close_code} before {name}")
                    await self._arrived.wait()

    async def close(self) -> None:
        """Hang up."""
        self._connection.close()
        await self._reader

    async def _read(self) -> None:
        while (frame := await self._connection.read_message()) is not None:
            parsed = json.loads(frame)
            for one in parsed if isinstance(parsed, list) else [parsed]:
                self._take(one)
            async with self._arrived:
                self._arrived.notify_all()
        self.closed.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(NotAsPromised(f"closed with {self.close_code}"))
        async with self._arrived:
            self._arrived.notify_all()

    def _take(self, one: dict[str, Any]) -> None:
        if "re" not in one:
            self.events.append(one)
            return
        waiting = self._answers.pop(one["re"], None)
        if waiting is None or waiting.done():
            return
        if one["ok"]:
            waiting.set_result(one["data"])
        else:
            waiting.set_exception(Refused(one["error"]["code"], one["error"]))
