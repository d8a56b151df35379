import asyncio
import json

import pytest

from core.ids import SystemClock, new_id
from core.wire import rfc3339
from im.frames import event, reply
from scripts.bench import echo
from scripts.bench.client import TEXT, request
from scripts.bench.ground import bare_server
from scripts.bench.wire import Wire

CONVERSATION, ID = new_id(), "0123456789abcdef"
SEND = request(ID, "message.send", {"conversation": CONVERSATION, "kind": "text", "body": {"text": TEXT}})


@pytest.mark.gen_test(timeout=20)
async def test_the_sender_is_answered_and_the_peer_is_told_with_frames_like_the_hospitals():
    heard: list[asyncio.Queue[bytes]] = [asyncio.Queue(), asyncio.Queue()]
    async with bare_server() as bare:
        sender, peer = [await Wire.open("127.0.0.1", bare.port, "/ws/1", queue.put_nowait) for queue in heard]
        sender.send(request("hello", "hello", {"token": "t"}))
        assert await heard[0].get() == echo.HELLO.encode()
        sender.send(SEND)
        ack, push = [await queue.get() for queue in heard]
        sender.drop()
        peer.drop()
    at = rfc3339(SystemClock().now())
    place = {"conversation": CONVERSATION, "seq": 100, "id": 32 * "0"}
    said = {
        **place,
        "from": {"account": CONVERSATION, "role": "patient"},
        "kind": "text",
        "body": {"text": TEXT},
        "at": at,
    }
    assert json.loads(ack)["re"] == ID
    assert len(ack) == len(reply(ID, {**place, "at": at, "dup": False}))
    assert json.loads(push)["data"]["body"] == {"text": TEXT}
    assert len(push) == len(event("message.created", said))


@pytest.mark.gen_test(timeout=20)
async def test_one_who_stands_alone_is_only_answered():
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with bare_server() as bare:
        alone = await Wire.open("127.0.0.1", bare.port, "/ws", heard.put_nowait)
        alone.send(SEND)
        assert await heard.get() == echo.HELLO.encode()
        alone.drop()
