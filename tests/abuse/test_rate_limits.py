"""Every limit: the call after the last allowed one is refused with the time to wait, and after that time it is taken.

Nobody sleeps: the limiter's windows are counted by `time.time`, which is set forward; Redis keeps the pauses of
text-message codes, whose keys are made as old as need be; the sockets' buckets are made to have been looked at earlier.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from tornado.websocket import WebSocketClosedError

from app import serving
from core.ids import new_id
from core.policy import DAY, HOUR, MINUTE, Policy
from scripts.acting import Line, Person, Refused
from scripts.story import picture
from tests.people import fresh_key, new_phone, somebody

ALLOWED = 2
POLICY = Policy(
    login_per_minute_per_address=ALLOWED,
    sms_hourly_per_address=ALLOWED,
    sms_daily_per_phone=ALLOWED,
    visits_per_hour=ALLOWED,
    uploads_per_hour=ALLOWED,
    identity_checks_per_day=ALLOWED,
    socket_messages_per_minute=ALLOWED,
    socket_frames_per_second=ALLOWED,
    socket_accepts_per_second=ALLOWED,
)
# Enough for the tests of phones, which ask from one address.
OF_PHONES = replace(POLICY, sms_hourly_per_address=10_000)


@pytest.fixture
def begin(hospital, io_loop):
    """Starts a further process of the hospital with these numbers."""
    begun = []

    async def start(role: str, policy: Policy = POLICY) -> serving.Process:
        begun.append(await serving.start(replace(hospital.settings, listen_port=0, policy=policy), role))
        return begun[-1]

    async def stop():
        for process in begun:
            await process.stop()

    yield start
    io_loop.run_sync(stop, timeout=60)


@pytest.fixture
def pass_time(monkeypatch) -> Callable[[float], None]:
    """Sets the limiter's clock forward."""
    real, gone = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + gone[0])

    def forward(seconds: float) -> None:
        gone[0] += seconds

    return forward


def refusals(limit: str) -> float:
    return REGISTRY.get_sample_value("rate_limited_total", {"limit": limit}) or 0.0


# --- windows, by account or address ----------------------------------------------------------------------------------


async def log_in(person: Person) -> httpx.Response:
    form = {"audience": "staff", "method": "password", "account": "nobody-here", "password": "not-a-password-1"}
    return await person.send("POST", "/auth/login", json=form)


async def ask_code(person: Person) -> httpx.Response:
    return await person.send("POST", "/auth/sms-codes", json={"phone": new_phone(), "purpose": "login"})


async def submit(person: Person) -> httpx.Response:
    return await person.send("POST", "/visits", json={}, key=fresh_key())


async def upload(person: Person) -> httpx.Response:
    return await person.send("POST", "/media", content=picture(8, 8), headers={"Content-Type": "image/jpeg"})


async def verify(person: Person) -> httpx.Response:
    return await person.send("POST", f"/patients/{new_id()}/verify")


@dataclass(frozen=True)
class Window:
    """A call, its limit's name and seconds, and what it answers while it is allowed."""

    call: Callable[[Person], Awaitable[httpx.Response]]
    limit: str
    seconds: int
    allowed: int


WINDOWS = [
    Window(log_in, "auth.login", MINUTE, 401),
    Window(ask_code, "auth.codes", HOUR, 202),
    Window(submit, "visit.create", HOUR, 422),
    Window(upload, "media.upload", HOUR, 201),
    Window(verify, "identity_checks", DAY, 404),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.limit)
@pytest.mark.gen_test(timeout=60)
async def test_one_call_too_many_waits_as_long_as_it_is_told(hospital, begin, pass_time, window):
    process = await begin("api")
    person = somebody(hospital, process)
    if window.limit.startswith("auth."):  # counted by address: what other tests asked lies behind
        pass_time(2 * window.seconds)
    before = refusals(window.limit)
    assert [(await window.call(person)).status_code for _ in range(ALLOWED)] == [window.allowed] * ALLOWED
    pass_time(window.seconds / 2)
    wait = assert_refused(await window.call(person), at_most=window.seconds / 2)
    assert wait > window.seconds / 2 - 30
    pass_time(wait - 30)
    assert_refused(await window.call(person), at_most=30)
    pass_time(30)
    assert (await window.call(person)).status_code == window.allowed
    assert refusals(window.limit) - before == 2


def assert_refused(answer: httpx.Response, *, at_most: float) -> int:
    """The seconds that a refused caller is told to wait."""
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    wait = int(answer.headers["Retry-After"])
    assert 0 < wait <= at_most
    return wait


@pytest.mark.gen_test(timeout=60)
async def test_every_limit_of_a_door_stands_in_this_table(begin):
    process = await begin("api")
    doors = [rule.target for rule in process._application.wildcard_router.rules]
    signs = [getattr(getattr(door, name, None), "sign", None) for door in doors for name in ("get", "post", "put")]
    named = {limit.name: limit.per_seconds for sign in signs if sign is not None for limit in sign.limits}
    assert named == {window.limit: window.seconds for window in WINDOWS}


# --- codes of a phone ------------------------------------------------------------------------------------------------


@pytest.fixture
def age(hospital) -> Callable[[float], Awaitable[None]]:
    """Makes all that Redis keeps of text-message codes older."""
    redis: Any = hospital.ctx.revocations._redis

    async def older(seconds: float) -> None:
        async for key in redis.scan_iter("code:*"):
            left = await redis.pttl(key) - round(seconds * 1_000)
            await (redis.pexpire(key, left) if left > 0 else redis.delete(key))

    return older


@pytest.mark.gen_test(timeout=60)
async def test_a_phone_waits_a_minute_for_its_next_code_and_a_day_after_its_last(hospital, begin, age):
    process = await begin("api", OF_PHONES)
    person, before = somebody(hospital, process), refusals("auth.codes.phone")
    asked = {"json": {"phone": new_phone(), "purpose": "login"}}
    assert (await person.send("POST", "/auth/sms-codes", **asked)).status_code == 202
    wait = assert_refused(await person.send("POST", "/auth/sms-codes", **asked), at_most=MINUTE)
    assert wait > MINUTE - 30
    await age(wait)
    assert (await person.send("POST", "/auth/sms-codes", **asked)).status_code == 202
    await age(wait)
    wait = assert_refused(await person.send("POST", "/auth/sms-codes", **asked), at_most=DAY - 2 * wait)
    assert wait > DAY - 3 * MINUTE
    await age(wait)
    assert (await person.send("POST", "/auth/sms-codes", **asked)).status_code == 202
    assert refusals("auth.codes.phone") - before == 2


# --- sockets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(io_loop):
    """Sockets, hung up after the test."""
    opened: list[Line] = []

    async def close():
        for line in opened:
            await line.close()

    yield opened
    io_loop.run_sync(close)


async def connected(person: Person, lines: list[Line]) -> Line:
    lines.append(await person.connect())
    return lines[-1]


async def say(line: Line) -> str:
    """The code by which a message into an unknown conversation is refused."""
    with pytest.raises(Refused) as refused:
        await line.say(new_id(), "您好")
    if refused.value.code == "rate_limited":
        return f"rate_limited {refused.value.body['retry_after_ms']}"
    return refused.value.code


@pytest.mark.gen_test(timeout=60)
async def test_a_message_too_many_waits_as_long_as_it_is_told(hospital, begin, lines):
    process = await begin("im", replace(POLICY, socket_frames_per_second=1_000, socket_accepts_per_second=1_000))
    line, before = await connected(somebody(hospital, process), lines), refusals("chat.messages")
    assert [await say(line) for _ in range(ALLOWED)] == ["not_found"] * ALLOWED
    code, _, wait_ms = (await say(line)).partition(" ")
    assert (code, 0 < int(wait_ms) <= MINUTE / ALLOWED * 1_000) == ("rate_limited", True)
    [bucket] = process.hospital.hub.chat.sends._buckets.values()
    bucket._at -= int(wait_ms) / 1_000
    assert await say(line) == "not_found"
    assert refusals("chat.messages") - before == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_frame_too_many_closes_the_socket_and_a_slower_one_is_heard(hospital, begin, lines):
    process = await begin("im", replace(POLICY, socket_accepts_per_second=1_000))
    person, before = somebody(hospital, process), refusals("chat.frames")
    line = await connected(person, lines)
    with suppress(WebSocketClosedError):
        for _ in range(20 * ALLOWED):  # faster than the allowance grows again, however slow the machine
            await line.write({"id": "p", "op": "ping", "args": {}})
    await line.closed.wait()
    assert line.close_code == 4029
    assert await (await connected(person, lines)).request("ping") is not None
    assert refusals("chat.frames") - before == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_socket_too_many_is_sent_away_with_a_time_and_taken_a_second_later(hospital, begin, lines):
    process = await begin("im", replace(POLICY, socket_frames_per_second=1_000, socket_accepts_per_second=1))
    person, before = somebody(hospital, process), refusals("chat.accepts")
    await connected(person, lines)
    process.hospital.hub._accepts._tokens = 0.0
    lines.append(shed := await Line.open(person.url))
    await shed.closed.wait()
    name, _, wait_ms = shed._connection.close_reason.partition("=")
    assert (shed.close_code, name, 1_000 <= int(wait_ms) <= 10_000) == (4013, "retry_after_ms", True)
    process.hospital.hub._accepts._at -= int(wait_ms) / 1_000
    assert await (await connected(person, lines)).request("ping") is not None
    assert refusals("chat.accepts") - before == 1
