"""The simulator in this process with a merchant beside it: signs by itself, and receives notifications."""

import asyncio
import json
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from simulators.wechat_pay import make_app
from simulators.wechat_pay.gateway import Gateway
from tests.clock import SettableClock

BOUND = 5


@dataclass
class Told:
    """One notification as it arrived."""

    path: str
    headers: HTTPHeaders
    body: bytes

    def envelope(self) -> dict[str, Any]:
        return json.loads(self.body)

    def content(self, apiv3_key: str) -> dict[str, Any]:
        """Decrypted by the letter of the vendor's page, without the library."""
        resource = self.envelope()["resource"]
        sealed, nonce, data = b64decode(resource["ciphertext"]), resource["nonce"], resource["associated_data"]
        return json.loads(AESGCM(apiv3_key.encode()).decrypt(nonce.encode(), sealed, data.encode()))


@dataclass
class Mailbox:
    """What the merchant was told; it answers with the given statuses first, then always 204, None is never."""

    answers: list[int | None] = field(default_factory=list)
    arrived: asyncio.Queue[Told] = field(default_factory=asyncio.Queue)

    async def next(self) -> Told:
        async with asyncio.timeout(BOUND):
            return await self.arrived.get()


class _Receiver(RequestHandler):
    def initialize(self) -> None:
        self._gone = asyncio.Event()

    def on_connection_close(self) -> None:
        self._gone.set()

    async def post(self) -> None:
        mailbox: Mailbox = self.settings["mailbox"]
        mailbox.arrived.put_nowait(Told(self.request.path, self.request.headers, self.request.body))
        status = mailbox.answers.pop(0) if mailbox.answers else 204
        if status is None:
            await self._gone.wait()
        else:
            self.set_status(status)


class Served:
    """An application on a free port of this machine."""

    def __init__(self, application: Application) -> None:
        sockets, self.port = bind_unused_port()
        self._server = HTTPServer(application)
        self._server.add_socket(sockets)
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class Stand:
    """The simulator over `folder`, with keys that may be shared between tests, and the merchant."""

    def __init__(self, folder: Path, keys_dir: Path) -> None:
        self.folder, self.keys_dir = folder, keys_dir
        self.clock = SettableClock()
        self.mailbox = Mailbox()

    async def start(self) -> None:
        self._receiver = Served(Application([(r"/notify/.*", _Receiver)], mailbox=self.mailbox))
        self.notify_url_base = f"{self._receiver.url}/notify"
        await self.open()

    async def open(self) -> None:
        """The simulator; again after `shut()` it is the same one after a restart, at another address."""
        self._application = make_app(self.folder, self.keys_dir, now=lambda: self.clock.now().timestamp())
        self._served = Served(self._application)
        self.url = self._served.url
        self.listed: dict[str, Any] = json.loads((self.keys_dir / "wechat_pay.json").read_text())
        self._http = httpx.AsyncClient(base_url=self.url, timeout=BOUND, verify=False)

    async def shut(self) -> None:
        await self._http.aclose()
        await self._served.stop()
        await self._application.settings["stop"]()

    async def stop(self) -> None:
        await self.shut()
        await self._receiver.stop()

    @property
    def gateway(self) -> Gateway:
        return self._application.settings["gateway"]

    async def idle(self) -> None:
        """Until the courier has nothing left to do."""
        async with asyncio.timeout(BOUND):
            await self.gateway.courier.idle()

    async def control(self, path: str, **body: Any) -> Any:
        """Drive it; answers the JSON of a success."""
        answer = await self.raw_control(path, **body)
        assert answer.is_success, answer.text
        return answer.json()

    async def raw_control(self, path: str, **body: Any) -> httpx.Response:
        return await self._http.post(f"/_control/{path}", json=body)

    async def show(self, path: str) -> Any:
        return (await self._http.get(f"/_control/{path}")).json()

    async def faults(self, **switches: Any) -> None:
        await self.control("faults", **switches)

    def order(self, **changes: Any) -> dict[str, Any]:
        """A JSAPI order as the vendor's page shows one."""
        return {
            "appid": self.listed["appid"],
            "mchid": self.listed["mchid"],
            "description": "图文咨询",
            "out_trade_no": "ORDER0000000001",
            "notify_url": f"{self.notify_url_base}/wechat-pay",
            "amount": {"total": 5000, "currency": "CNY"},
            "payer": {"openid": "o-patient-1"},
        } | changes

    def refund(self, **changes: Any) -> dict[str, Any]:
        return {
            "out_trade_no": "ORDER0000000001",
            "out_refund_no": "REFUND0000000001",
            "reason": "医生未接诊",
            "notify_url": f"{self.notify_url_base}/wechat-refund",
            "amount": {"refund": 5000, "total": 5000, "currency": "CNY"},
        } | changes

    async def call(self, method: str, uri: str, document: Any = None, **changes: str) -> httpx.Response:
        """A call of the API, signed by the letter of the vendor's page; `changes` spoil fields of the signature."""
        body = "" if document is None else json.dumps(document, ensure_ascii=False)
        signed = {
            "mchid": self.listed["mchid"],
            "nonce_str": secrets.token_hex(16),
            "timestamp": str(int(self.clock.now().timestamp())),
            "serial_no": self.listed["serial"],
            "body": body,
        } | changes
        message = f"{method}\n{uri}\n{signed['timestamp']}\n{signed['nonce_str']}\n{signed.pop('body')}\n"
        pem = (self.keys_dir / self.listed["merchant_private_key_file"]).read_bytes()
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        signed.setdefault("signature", b64encode(key.sign(message.encode(), PKCS1v15(), SHA256())).decode())
        credentials = ",".join(f'{name}="{value}"' for name, value in signed.items())
        headers = {
            "Authorization": f"WECHATPAY2-SHA256-RSA2048 {credentials}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        return await self._http.request(method, uri, content=body.encode() or None, headers=headers)
