"""A whole hospital in the test's own process: real stores, real adapters, simulators of the outside."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from app import serving
from app.settings import Settings
from core.ids import Clock
from core.policy import Policy
from scripts.acting import Outside, Person
from scripts.embedded import free_port
from simulators.__main__ import Running
from simulators.__main__ import start as start_simulator

VENDORS = ("wechat_pay", "wechat_login", "sms", "identity")


def key(letter: str) -> str:
    """A key of 32 bytes, the same in every run."""
    return base64.b64encode(letter.encode() * 32).decode()


@dataclass
class TestHospital:
    """A running process with the outside world around it."""

    __test__ = False

    process: serving.Process
    settings: Settings
    outside: Outside
    http: httpx.AsyncClient
    simulators: dict[str, Running]

    @property
    def ctx(self) -> Any:
        return self.process.ctx

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    def person(self) -> Person:
        return Person(self.http, self.url)


def settings_for(
    mongo_uri: str, redis_url: str, database: str, keys: Path, urls: dict[str, str], **more: Any
) -> Settings:
    """Settings of a hospital on these stores with these vendors; `more` may change any of them."""
    return replace(
        Settings(
            mongo_uri=mongo_uri,
            mongo_database=database,
            redis_url=redis_url,
            listen_port=0,
            drain_seconds=0,
            token_keys=json.dumps({"demo-1": key("t")}),
            token_key="demo-1",
            field_keys=json.dumps({"demo-1": key("f")}),
            field_key="demo-1",
            blind_index_key=key("b"),
            code_key=key("c"),
            link_key=key("l"),
            wechat_pay_url=urls["wechat_pay"],
            wechat_pay_file=str(keys / "wechat_pay.json"),
            wechat_url=urls["wechat_login"],
            wechat_file=str(keys / "wechat.json"),
            sms_url=urls["sms"],
            identity_url=urls["identity"],
            tencent_file=str(keys / "tencent.json"),
            policy=Policy(
                login_per_minute_per_address=100_000, sms_hourly_per_address=10_000, socket_messages_per_minute=100_000
            ),
        ),
        **more,
    )


@asynccontextmanager
async def open_test_hospital(
    mongo_uri: str, redis_url: str, database: str, folder: Path, *, clock: Clock | None = None, **more: Any
) -> AsyncIterator[TestHospital]:
    """Start simulators and one process of role `all`; the callbacks of WeChat Pay reach it."""
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    simulators = {}
    for name in VENDORS:
        state = folder / "state"
        state.mkdir(exist_ok=True)
        simulators[name] = start_simulator(name, 0, state, keys)
    urls = {name: f"http://127.0.0.1:{running.port}" for name, running in simulators.items()}
    settings = settings_for(mongo_uri, redis_url, database, keys, urls, **more)
    port = free_port()
    settings = replace(settings, listen_port=port, public_url=f"http://127.0.0.1:{port}")
    process = await serving.start(settings, "all", clock=clock)
    async with httpx.AsyncClient(timeout=30) as http:
        outside = Outside(http, **urls)
        try:
            yield TestHospital(process, settings, outside, http, simulators)
        finally:
            await process.stop()
            for running in simulators.values():
                await running.stop()
