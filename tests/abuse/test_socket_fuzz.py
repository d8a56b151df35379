"""The websocket sent anything at all: it answers every request once, or closes with a code of the protocol."""

import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wiring import COMMANDS
from core.errors import CODES
from core.policy import Policy
from im.frames import BATCH, FRAME_BYTES, Close
from storage.indexes import ensure_indexes
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.clock import SettableClock
from tests.im import house

# So many that no number of frames is too many: the limits have their own tests.
POLICY = Policy(socket_messages_per_minute=1_000_000, socket_frames_per_second=1_000_000)
TEXT, BINARY = 0x1, 0x2
ALL_CODES = {int(code) for code in Close}


@dataclass
class Chat:
    """A consultation under abuse, another one of strangers, and the socket through which it happens."""

    server: house.Process
    own: house.Visit
    others: house.Visit
    line: house.Line | None = None
    acked: set[int] = field(default_factory=set)
    closes: list[int] = field(default_factory=list)

    async def open_line(self) -> house.Line:
        """The socket; a new one where the last was closed."""
        if self.line is None:
            self.line = await self.server.line(self.own.patient)
            self.line.frames.clear()
        return self.line

    async def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one frame and wait for what must come of it."""
        line = await self.open_line()
        await line.connection.protocol._write_frame(True, opcode, payload)
        expected = requests_in(payload) if opcode == TEXT else None
        if expected is None:
            code, _ = await line.closed()
            assert code in ALL_CODES, payload[:200]
            self.closes.append(code)
            await line.close()
            self.server.lines.remove(line)  # it would be kept to the end, and thousands of them look like a leak
            self.line = None
            return
        await house.until(lambda: len(answers_of(line)) >= len(expected) or line.connection.close_code is not None)
        assert line.connection.close_code is None, (payload[:200], line.connection.close_reason)
        self.judge(expected, answers_of(line))
        line.frames.clear()

    def judge(self, expected: list[str], answers: list[dict[str, Any]]) -> None:
        """Each request has one answer, and every refusal is a documented one."""
        assert sorted(answer["re"] for answer in answers) == sorted(expected)
        for answer in answers:
            if answer["ok"]:
                if answer["data"].get("conversation") == self.own.id:
                    self.acked.add(answer["data"]["seq"])
            else:
                assert answer["error"]["code"] in CODES
                assert answer["error"]["code"] != "internal"


def answers_of(line: house.Line) -> list[dict[str, Any]]:
    """The replies that have come, out of their batches; events left aside."""
    said = [one for frame in line.frames for one in (frame if isinstance(frame, list) else [frame])]
    return [one for one in said if "re" in one]


def requests_in(payload: bytes) -> list[str] | None:
    """The ids that must be answered; None: it is no frame of the protocol. Written from the protocol's words."""
    if len(payload) > FRAME_BYTES:
        return None
    try:
        said = json.loads(payload.decode())
    except (ValueError, RecursionError):
        return None
    requests = said if isinstance(said, list) else [said]
    return [one["id"] for one in requests] if 1 <= len(requests) <= BATCH and all(map(is_request, requests)) else None


def is_request(one: Any) -> bool:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    return (
        isinstance(one, dict)
        and {"id", "op"} <= set(one) <= {"id", "op", "args"}
        and isinstance(one["id"], str)
        and 1 <= len(one["id"]) <= 64
        and set(one["id"]) <= allowed
        and isinstance(one["op"], str)
        and isinstance(one.get("args", {}), dict)
    )


@pytest.fixture(scope="module")
def chat(io_loop, store, redis_url) -> Iterator[Chat]:
    yield from opened_chat(io_loop, store, redis_url)


def opened_chat(io_loop, store, redis_url) -> Iterator[Chat]:
    """A process with two consultations, closed when the next is asked for."""

    @asynccontextmanager
    async def opened():
        await ensure_indexes(store)
        async with house.process(store, redis_url, SettableClock(), policy=POLICY) as server:
            yield Chat(server, await house.add_visit(store), await house.add_visit(store))

    opening = opened()
    yield io_loop.run_sync(opening.__aenter__, timeout=30)
    io_loop.run_sync(lambda: opening.__aexit__(None, None, None), timeout=30)


# --- what is sent ----------------------------------------------------------------------------------------------------

NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, 0, -1])
WORDS = st.text(max_size=30) | st.sampled_from(["", "\x00", "\ud800", "a\n", "x" * 5_000, "\u202e", "smile"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
IDS = st.text("abcXYZ019_-", min_size=1, max_size=64) | st.sampled_from(["", "a b", "x" * 65, "a\n", "é"])
NAMES = sorted({name for command in COMMANDS.values() for name in command.args.fields} | {"token", "device", "client"})


def arguments(chat: Chat) -> st.SearchStrategy[Any]:
    """Objects that have the right fields, now and then with the right values."""
    rooms = st.sampled_from([chat.own.id, chat.others.id, chat.own.id.lower(), chat.own.id + "\n", "0" * 26])
    right = {
        "conversation": rooms,
        "kind": st.sampled_from(["text", "image", "video", "emoji", "card", "system"]),
        "body": st.dictionaries(st.sampled_from(["text", "media", "code"]), WORDS | rooms | ANYTHING, max_size=2),
        "seq": st.integers(-1, 5) | NUMBERS,
        "cursors": st.none() | st.dictionaries(rooms | WORDS, NUMBERS | st.integers(0, 5), max_size=3),
        "limit": NUMBERS | st.integers(0, 201),
    }
    fields = {name: right.get(name, ANYTHING) | ANYTHING for name in NAMES}
    return (
        ANYTHING
        | st.fixed_dictionaries({}, optional=fields)
        | st.one_of(
            st.fixed_dictionaries({name: right.get(name, ANYTHING) for name in command.args.fields})
            for command in COMMANDS.values()
        )
    )


def requests(chat: Chat) -> st.SearchStrategy[Any]:
    """Requests and what looks like them."""
    ops = st.sampled_from([*COMMANDS, "hello"]) | WORDS
    return st.fixed_dictionaries({"id": IDS, "op": ops, "args": arguments(chat)}) | st.fixed_dictionaries(
        {}, optional={"id": IDS | ANYTHING, "op": ops | ANYTHING, "args": ANYTHING, "more": ANYTHING}
    )


def encoded(said: Any) -> bytes:
    """As JSON, halves of surrogate pairs and NaN included."""
    return json.dumps(said).encode()


async def nothing_has_come_of_it(chat: Chat, heard: Any) -> None:
    """The other still speaks and is heard; only what was acknowledged is stored; nothing was unexpected."""
    assert heard.errors == []
    doctor = await chat.server.line(chat.own.doctor, "doctor")
    said = await doctor.say(chat.own, "still here")
    line = await chat.open_line()
    assert list(await line.request("ping")) == ["server_time"]
    kept = await house.stored(chat.server.ctx.store, chat.own.id)
    assert [one["seq"] for one in kept] == list(range(1, said["seq"] + 1))
    assert {one["seq"] for one in kept} == chat.acked | {said["seq"]}
    assert await house.stored(chat.server.ctx.store, chat.others.id) == []
    chat.acked.add(said["seq"])
    line.frames.clear()


# --- tests -----------------------------------------------------------------------------------------------------------


def test_bytes_are_refused_with_a_code(io_loop, chat):
    @settings(QUICKLY, max_examples=40)
    @given(payload=st.binary(max_size=200), opcode=st.sampled_from([TEXT, TEXT, BINARY]))
    def send(payload: bytes, opcode: int) -> None:
        io_loop.run_sync(lambda: chat.send(payload, opcode), timeout=20)

    with listening() as heard:
        send()
        io_loop.run_sync(lambda: nothing_has_come_of_it(chat, heard), timeout=20)


def test_json_of_every_shape_is_answered_or_refused(io_loop, chat):
    @settings(QUICKLY, max_examples=60)
    @given(said=ANYTHING | st.lists(ANYTHING, max_size=3))
    def send(said: Any) -> None:
        io_loop.run_sync(lambda: chat.send(encoded(said)), timeout=20)

    with listening() as heard:
        send()
        io_loop.run_sync(lambda: nothing_has_come_of_it(chat, heard), timeout=20)


def test_requests_with_any_arguments_have_one_answer_each(io_loop, chat):
    @settings(QUICKLY, max_examples=160)
    @given(said=requests(chat) | st.lists(requests(chat), min_size=1, max_size=5))
    def send(said: Any) -> None:
        io_loop.run_sync(lambda: chat.send(encoded(said)), timeout=20)

    with listening() as heard:
        send()
        io_loop.run_sync(lambda: nothing_has_come_of_it(chat, heard), timeout=20)


def edges() -> dict[str, bytes]:
    """Frames at the limits and far beyond them."""
    ping = {"id": "p", "op": "ping", "args": {}}
    padding = FRAME_BYTES - len(encoded(ping))
    return {
        "as long as may be": encoded(ping) + b" " * padding,
        "one byte longer": encoded(ping) + b" " * (padding + 1),
        "many bytes of few characters": b'{"id":"m","op":"' + "好".encode() * 22_000 + b'"}',
        "a hundred": encoded([ping] * BATCH),
        "a hundred and one": encoded([ping] * (BATCH + 1)),
        "none": b"[]",
        "deep lists": b"[" * (FRAME_BYTES - 1),
        "deep objects": b'{"id":"d","op":"ping","args":' + b'{"a":' * 9_000 + b"1" + b"}" * 9_001,
        "deep within a body": b'{"id":"d","op":"message.send","args":{"body":' + b"[" * 900 + b"]" * 900 + b"}}",
        "a number of sixty thousand digits": b'{"id":"n","op":"ping","args":{"a":' + b"9" * 60_000 + b"}}",
        "not a number": b'{"id":"n","op":"message.read","args":{"seq":NaN}}',
        "the same name twice": b'{"id":"n","op":"ping","op":"ping","args":{}}',
        "a byte order mark": b"\xef\xbb\xbf" + encoded(ping),
        "a null byte": b"\x00",
        "nothing": b"",
    }


@pytest.mark.parametrize("edge", edges())
@pytest.mark.gen_test(timeout=30)
async def test_frames_at_the_edges_are_answered_or_refused(chat, edge):
    with listening() as heard:
        await chat.send(edges()[edge])
        await nothing_has_come_of_it(chat, heard)


@pytest.mark.gen_test(timeout=30)
async def test_before_hello_every_frame_ends_with_a_code(chat):
    hello = {"token": "\ud800", "device": "d", "client": "\ud800"}
    frames = [
        b"\xff",
        encoded({"id": "1", "op": "ping"}),
        encoded({"id": "1", "op": "hello", "args": hello}),
        encoded({"id": "1", "op": "hello", "args": {**hello, "token": "a.b.c"}}),
        encoded({"id": "1", "op": "hello", "args": {**hello, "token": "é" * 4_096}}),
        encoded([{"id": "1", "op": "hello", "args": {}}] * 2),
    ]
    with listening() as heard:
        for frame in frames:
            line = await chat.server.open()
            await line.connection.protocol._write_frame(True, TEXT, frame)
            code, _ = await line.closed()
            assert code in (Close.PROTOCOL_ERROR, Close.UNAUTHENTICATED), frame[:100]
            refused = answers_of(line)
            assert {answer["error"]["code"] for answer in refused} <= {"unauthenticated", "invalid"}
        await nothing_has_come_of_it(chat, heard)
