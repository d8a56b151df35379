import asyncio
import json
import re
from collections import Counter
from typing import Any, ClassVar

import pytest
import structlog
from marshmallow import Schema, fields, validate
from pymongo.errors import AutoReconnect, OperationFailure
from redis.exceptions import ConnectionError as RedisConnectionError

from core import metrics
from core.auth import ANYONE, DOCTOR, PARTICIPANTS, PATIENT, Actor
from core.errors import AppError, Conflict, NotFound
from core.http import DRAINED_BODY, MAX_BODY, ApiHandler, BaseHandler, Limit, endpoint, sign_of
from core.idempotency import STALE_SECONDS
from core.ports import Unavailable
from tests.core.doors import a_limiter, open_doors, partial_context

MIB = 1024 * 1024
ran: Counter[str] = Counter()
held: dict[str, asyncio.Event] = {}


class Part(Schema):
    name = fields.Str(required=True, validate=validate.Length(1, 5))


class Thing(Schema):
    text = fields.Str(required=True)
    count = fields.Int(strict=True, load_default=1)
    part = fields.Nested(Part)
    parts = fields.List(fields.Nested(Part))


class ThingQuery(Schema):
    limit = fields.Int(load_default=20, validate=validate.Range(1, 100))
    q = fields.Str(load_default="")


class ThingsHandler(ApiHandler):
    @endpoint(roles=PARTICIPANTS, summary="所有", query=ThingQuery(), answer=ThingQuery())
    async def get(self, query: dict[str, Any]) -> Any:
        """A list."""
        return query

    @endpoint(roles=PATIENT, summary="增加", body=Thing(), answer=Thing(), status=201)
    async def post(self, body: dict[str, Any]) -> Any:
        """A thing."""
        ran["post"] += 1
        return body | {"secret": "never dumped"}

    async def put(self) -> None:
        ran["unsigned"] += 1

    @endpoint(roles=DOCTOR, summary="删除")
    async def delete(self) -> None:
        """Gone."""
        ran["delete"] += 1


class CallHandler(ApiHandler):
    @endpoint(roles=PARTICIPANTS, summary="通话", call_scope=True, status=202)
    async def post(self) -> None:
        """Called."""


class PublicHandler(ApiHandler):
    @endpoint(roles=ANYONE, summary="公开", answer=Part())
    async def get(self, name: str) -> Any:
        """Open to all."""
        if name == "nobody":
            raise NotFound
        return {"name": name}


class LimitedHandler(ApiHandler):
    @endpoint(
        roles=PATIENT, summary="限次", limits=(Limit("things", "sms_code_tries", 60),), answer=Thing(), body=Thing()
    )
    async def post(self, body: Any) -> Any:
        """So many a minute."""
        ran["limited"] += 1
        return body


class FailingHandler(ApiHandler):
    faults: ClassVar[dict[str, Exception]] = {
        "bug": ValueError("secret-of-the-house"),
        "store": AutoReconnect("mongo:27017 refused"),
        "bus": RedisConnectionError("redis:6379 refused"),
        "disk": OperationFailure("internal server error at mongo:27017", 1),
        "gateway": Unavailable("api.mch.weixin.qq.com"),
        "limited": AppError(code="rate_limited", retry_after=0.2),
        "waiting": AppError(code="rate_limited", retry_after=7.01),
    }

    @endpoint(roles=ANYONE, summary="故障")
    async def get(self, name: str) -> None:
        """Fails."""
        raise self.faults[name]


class OnceHandler(ApiHandler):
    @endpoint(roles=PATIENT, summary="一次", body=Thing(), answer=Thing(), status=201, idempotent=True)
    async def post(self, body: dict[str, Any]) -> Any:
        """Runs once a key."""
        ran["once"] += 1
        if body["text"] == "refuse":
            raise Conflict(code="wrong_state")
        if body["text"] == "fail":
            raise ValueError("bug")
        if body["text"] in held:
            held["begun"].set()
            await held[body["text"]].wait()
        return body | {"count": ran["once"]}

    @endpoint(roles=PATIENT, summary="一次", idempotent=True)
    async def put(self) -> None:
        """Runs once and says nothing."""
        ran["once"] += 1


class RecordHandler(ApiHandler):
    @endpoint(roles=PARTICIPANTS, summary="记录", answer=Part(), audits="thing.read")
    async def get(self, thing: str, part: str) -> Any:
        """Shown to whom the trail names."""
        if thing == "none":
            raise NotFound
        return {"name": part}

    @endpoint(roles=PARTICIPANTS, summary="记录", media_type="text/plain", audits="thing.read")
    async def head(self, thing: str, part: str) -> None:
        """Writes for itself."""
        await self.note_read(Actor("other", "link"))
        self.set_header("X-Part", part)


class RecordsHandler(ApiHandler):
    @endpoint(roles=PARTICIPANTS, summary="记录", answer=Part(), audits="thing.list")
    async def get(self) -> Any:
        """All of them."""
        return {"name": "all"}


class PlainHandler(BaseHandler):
    def get(self) -> None:
        self.write("plain")


ROUTES = [
    (r"/things", ThingsHandler),
    (r"/calls", CallHandler),
    (r"/public/([^/]+)", PublicHandler),
    (r"/limited", LimitedHandler),
    (r"/failing/(\w+)", FailingHandler),
    (r"/once", OnceHandler),
    (r"/records", RecordsHandler),
    (r"/records/(\w+)/parts/(\w+)", RecordHandler),
    (r"/plain", PlainHandler),
]


@pytest.fixture(scope="module")
def limiter(io_loop, redis_url):
    with a_limiter(io_loop, redis_url) as made:
        yield made


@pytest.fixture(autouse=True)
def logs():
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def doors(io_loop, store, redis, limiter):
    ran.clear()
    held.clear()
    held["begun"] = asyncio.Event()
    io_loop.run_sync(redis.flushall)
    io_loop.run_sync(lambda: store.db["idempotency"].delete_many({}))
    with open_doors(io_loop, partial_context(store, redis, limiter), ROUTES) as opened:
        yield opened


def refused(answer, status: int, code: str) -> dict[str, Any]:
    """The problem, when it is one of this status and code."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    return problem


# --- problems


@pytest.mark.gen_test
async def test_a_refusal_is_a_problem_document_under_its_request_id(doors):
    answer = await doors.ask("GET", "/public/nobody")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "/api/docs/errors#not_found",
        "title": "内容不存在",
        "status": 404,
        "detail": "内容不存在",
        "code": "not_found",
        "errors": {},
        "request_id": answer.headers["X-Request-Id"],
    }
    assert re.fullmatch("[0-9A-Z]{26}", answer.headers["X-Request-Id"])


@pytest.mark.gen_test
async def test_every_answer_has_a_request_id_of_its_own_and_the_headers_that_keep_it_private(doors):
    answers = [await doors.ask("GET", path) for path in ("/public/a", "/public/a", "/none", "/failing/gateway")]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in answer.headers


@pytest.mark.gen_test
async def test_a_path_nobody_serves_is_not_found_for_every_method(doors):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        refused(await doors.ask(method, "/none", content=b"{}" if method != "GET" else None), 404, "not_found")


@pytest.mark.gen_test
async def test_a_method_that_is_not_there_is_told_which_are(doors):
    answer = await doors.ask("PATCH", "/things", token=doors.token(), json={})
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST, DELETE"
    assert (await doors.ask("POST", "/plain")).headers["Allow"] == "GET"


@pytest.mark.gen_test
async def test_trace_options_and_invented_methods_are_not_allowed(doors):
    for method in ("TRACE", "OPTIONS", "INVENTED"):
        answer = await doors.ask(method, "/things")
        refused(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, POST, DELETE"


@pytest.mark.gen_test
async def test_head_without_a_sign_of_its_own_is_refused_without_a_body(doors):
    answer = await doors.ask("HEAD", "/public/a")
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "GET", b"")


@pytest.mark.gen_test
async def test_a_bug_is_answered_blandly_and_logged_once_under_the_request_id(doors, logs):
    answer = await doors.ask("GET", "/failing/bug")
    problem = refused(answer, 500, "internal")
    assert (problem["detail"], problem["errors"]) == ("系统内部错误", {})
    assert "secret-of-the-house" not in answer.text + str(answer.headers)
    [error] = [line for line in logs if line["log_level"] == "error"]
    assert (error["event"], error["request"]) == ("http.unexpected", problem["request_id"])
    assert "secret-of-the-house" in str(error["exc_info"][1])


@pytest.mark.gen_test
async def test_refusals_are_not_logged_as_errors(doors, logs):
    for path in ("/public/nobody", "/none", "/things", "/failing/store"):
        await doors.ask("GET", path)
    assert {line["log_level"] for line in logs} == {"info"}


@pytest.mark.gen_test
async def test_a_store_that_answers_and_cannot_work_is_told_to_its_people(doors, logs):
    await doors.ask("GET", "/failing/disk")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["store.broken"]


@pytest.mark.gen_test
@pytest.mark.parametrize("away", ["store", "bus", "gateway", "disk"])
async def test_what_is_away_is_503_with_a_time_to_come_back_and_no_address(doors, away):
    answer = await doors.ask("GET", f"/failing/{away}")
    refused(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert not re.search("refused|weixin|27017|6379", answer.text)


@pytest.mark.gen_test
async def test_retry_after_is_whole_seconds_and_never_too_early(doors):
    assert (await doors.ask("GET", "/failing/limited")).headers["Retry-After"] == "1"
    assert (await doors.ask("GET", "/failing/waiting")).headers["Retry-After"] == "8"


# --- who may


@pytest.mark.gen_test
async def test_a_method_without_a_sign_is_closed_to_everybody(doors):
    for role in ("patient", "doctor", "admin"):
        refused(await doors.ask("PUT", "/things", token=doors.token(role), json={}), 403, "forbidden")
    assert not ran


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YTpi", "Bearer not.a.token", "Bearer 您好".encode()]
)
async def test_nobody_we_know_is_asked_to_log_in(doors, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await doors.ask("POST", "/things", headers=headers, json={"text": "a"})
    refused(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not ran


@pytest.mark.gen_test
async def test_an_expired_or_revoked_token_is_no_login(doors):
    token = doors.token()
    await doors.ctx.revocations.revoke_session(session="s1", account="a1", seconds=60)
    refused(await doors.ask("GET", "/things", token=token), 401, "unauthenticated")
    other = doors.token(account="a2")
    assert (await doors.ask("GET", "/things", token=other)).status_code == 200
    doors.ctx.clock.step(900)
    refused(await doors.ask("GET", "/things", token=other), 401, "unauthenticated")


@pytest.mark.gen_test
async def test_another_role_is_refused_and_nothing_happens(doors):
    refused(await doors.ask("POST", "/things", token=doors.token("doctor"), json={"text": "a"}), 403, "forbidden")
    refused(await doors.ask("DELETE", "/things", token=doors.token("patient")), 403, "forbidden")
    refused(await doors.ask("GET", "/things", token=doors.token("admin")), 403, "forbidden")
    assert not ran


@pytest.mark.gen_test
async def test_a_token_of_one_call_opens_only_the_doors_that_say_so(doors):
    token = doors.token("doctor", scope="call", call="c1")
    refused(await doors.ask("DELETE", "/things", token=token), 403, "forbidden")
    assert not ran
    assert (await doors.ask("POST", "/calls", token=token)).status_code == 202


@pytest.mark.gen_test
async def test_who_calls_too_often_waits_and_others_do_not(doors):
    token = doors.token()
    for _ in range(doors.ctx.policy.sms_code_tries):
        assert (await doors.ask("POST", "/limited", token=token, json={"text": "a"})).status_code == 200
    answer = await doors.ask("POST", "/limited", token=token, json={"text": "a"})
    refused(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert ran["limited"] == doors.ctx.policy.sms_code_tries
    assert (await doors.ask("POST", "/limited", token=doors.token(account="a2"), json={"text": "a"})).is_success


# --- answers


@pytest.mark.gen_test
async def test_the_answer_is_what_the_schema_dumps_with_the_status_of_the_sign(doors):
    answer = await doors.ask("POST", "/things", token=doors.token(), json={"text": "您好"})
    assert (answer.status_code, answer.json()) == (201, {"text": "您好", "count": 1})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "您好" in answer.text


@pytest.mark.gen_test
async def test_without_an_answer_there_is_no_body(doors):
    gone = await doors.ask("DELETE", "/things", token=doors.token("doctor"))
    assert (gone.status_code, gone.content, "Content-Type" in gone.headers) == (204, b"", False)
    taken = await doors.ask("POST", "/calls", token=doors.token())
    assert (taken.status_code, taken.content, "Content-Type" in taken.headers) == (202, b"", False)


@pytest.mark.gen_test
async def test_a_path_may_hold_any_text_but_not_broken_utf8(doors):
    assert (await doors.ask("GET", "/public/%E6%82%A8%2F")).json() == {"name": "您/"}
    refused(await doors.ask("GET", "/public/%FF"), 400, "malformed")


# --- bodies


def posting(doors, content: bytes, kind: str | None = "application/json"):
    headers = {} if kind is None else {"Content-Type": kind}
    return doors.ask("POST", "/things", token=doors.token(), content=content, headers=headers)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"text": "\xff"}',
        b'{"text": "\xed\xa0\x80"}',
        '{"text": "a"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"text": "a"}',
        b'{"text": "a", "count": NaN}',
        b'{"text": "a", "count": -Infinity}',
        b'{"text": "a", "count": 1e999}',
        b'{"text": "a", "count": ' + b"9" * 20 + b"}",
        b'{"text": "a", "count": ' + b"9" * 5000 + b"}",
        rb'{"text": "\ud800"}',
        rb'{"\uDC00": "a"}',
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"parts": ' * 50_000 + b"1" + b"}" * 50_000,
    ],
)
async def test_what_is_not_a_json_object_in_utf8_is_malformed(doors, content):
    refused(await posting(doors, content), 400, "malformed")
    assert not ran


@pytest.mark.gen_test
async def test_a_character_of_two_halves_is_a_character(doors):
    answer = await posting(doors, rb'{"text": "\ud83d\ude00"}')
    assert answer.json()["text"] == "😀"


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
async def test_another_type_of_content_is_refused(doors, kind):
    refused(await posting(doors, b'{"text": "a"}', kind), 415, "unsupported_media")
    assert not ran


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON; charset=UTF-8"])
async def test_json_is_taken_under_its_own_name_or_none(doors, kind):
    assert (await posting(doors, b'{"text": "a"}', kind)).status_code == 201


@pytest.mark.gen_test
async def test_wrong_fields_are_named_the_way_a_form_finds_them(doors):
    body = {"text": 1, "count": 2.5, "part": {"name": "六个字的名字"}, "parts": [{"name": "a"}, {}], "extra": True}
    problem = refused(await posting(doors, json.dumps(body).encode()), 422, "invalid")
    assert set(problem["errors"]) == {"text", "count", "part.name", "parts.1.name", "extra"}
    assert all(isinstance(said, list) and said for said in problem["errors"].values())
    assert not ran


@pytest.mark.gen_test
async def test_an_empty_body_is_an_empty_object(doors):
    assert set(refused(await posting(doors, b""), 422, "invalid")["errors"]) == {"text"}


@pytest.mark.gen_test
async def test_a_query_is_loaded_like_a_body(doors):
    token = doors.token()
    assert (await doors.ask("GET", "/things?limit=5&q=%E6%82%A8", token=token)).json() == {"limit": 5, "q": "您"}
    for query, field in (("limit=0", "limit"), ("limit=x", "limit"), ("size=1", "size"), ("q=a&q=b", "q")):
        problem = refused(await doors.ask("GET", f"/things?{query}", token=token), 422, "invalid")
        assert set(problem["errors"]) == {field}
    refused(await doors.ask("GET", "/things?q=%FF", token=token), 400, "malformed")


# --- bodies that are too large, or come although nobody wants them


def head(doors, path="/things", token=None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{doors.port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(size: int) -> bytes:
    return f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"


@pytest.mark.gen_test
async def test_a_body_of_exactly_the_limit_is_read(doors):
    shell = len(b'{"text": ""}')
    answer = await posting(doors, b'{"text": "%b"}' % (b"x" * (MAX_BODY - shell)))
    assert (answer.status_code, len(answer.json()["text"])) == (201, MAX_BODY - shell)


@pytest.mark.gen_test
async def test_an_announced_body_that_is_too_large_is_refused_and_the_connection_stays_good(doors):
    token = doors.token()
    whole = head(doors, token=token, Content_Length=str(2 * MIB)) + b"x" * 2 * MIB
    then = b"GET /public/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    said = await doors.raw(whole, then)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too_large"' in said
    assert said.count(b"HTTP/1.1 ") == 2
    assert said.endswith(b'{"name": "a"}')
    assert not ran


@pytest.mark.gen_test
async def test_an_unannounced_body_that_grows_too_large_is_refused_and_the_method_never_runs(doors):
    whole = head(doors, token=doors.token(), Transfer_Encoding="chunked") + chunk(MIB // 2) * 4 + b"0\r\n\r\n"
    then = b"GET /public/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    said = await doors.raw(whole, then)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too_large"' in said
    assert said.endswith(b'{"name": "a"}')
    assert not ran


@pytest.mark.gen_test
async def test_a_door_without_a_body_does_not_open_for_one_that_is_too_large(doors):
    whole = head(doors, "/calls", token=doors.token(), Transfer_Encoding="chunked", Connection="close")
    said = await doors.raw(whole + chunk(MIB) * 2 + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.gen_test
async def test_more_than_is_thrown_away_is_refused_at_once_and_the_connection_closed(doors):
    said = await doors.raw(head(doors, token=doors.token(), Content_Length=str(DRAINED_BODY + 1)))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too_large"' in said
    said = await doors.raw(head(doors, token=doors.token(), Content_Length="9" * 30))
    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.gen_test(timeout=20)
@pytest.mark.parametrize("known", [True, False])
async def test_an_endless_body_is_cut_off_with_its_refusal(doors, known):
    token = doors.token() if known else None
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.port)
    try:
        writer.write(head(doors, token=token, Transfer_Encoding="chunked"))
        for _ in range(DRAINED_BODY // MIB):
            writer.write(chunk(MIB))
            await writer.drain()
        writer.write(chunk(MIB // 2))
        said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert said.startswith(b"HTTP/1.1 413 " if known else b"HTTP/1.1 401 ")
    finally:
        writer.close()
    assert not ran


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/things", "/none"])
async def test_a_refused_caller_can_write_to_the_end_and_ask_again_on_the_same_connection(doors, path):
    whole = head(doors, path, Content_Length=str(MIB)) + b"x" * MIB
    then = b"GET /public/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    said = await doors.raw(whole, then)
    assert said.startswith(b"HTTP/1.1 401 " if path == "/things" else b"HTTP/1.1 404 ")
    assert said.endswith(b'{"name": "a"}')


@pytest.mark.gen_test
async def test_a_caller_who_waits_for_our_word_is_refused_before_sending(doors):
    said = await doors.raw(head(doors, Content_Length="1000", Expect="100-continue"))
    assert said.startswith(b"HTTP/1.1 401 ")
    assert b"100 (Continue)" not in said


@pytest.mark.gen_test
async def test_a_caller_who_leaves_in_the_middle_starts_nothing(doors):
    for token in (doors.token(), None):
        reader, writer = await asyncio.open_connection("127.0.0.1", doors.port)
        writer.write(head(doors, token=token, Content_Length="100") + b'{"text": "a"}')
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    assert not ran


# --- keyed calls


async def once(doors, key: str | None = "k1", text: str = "a", **options: Any):
    headers = {} if key is None else {"Idempotency-Key": key}
    token = options.pop("token", None) or doors.token()
    return await doors.ask("POST", "/once", token=token, json={"text": text}, headers=headers)


@pytest.mark.gen_test
@pytest.mark.parametrize("key", [None, "", "a b", "k" * 65, "键".encode(), "k\t1", "a/b"])
async def test_a_missing_or_strange_key_is_refused(doors, key):
    problem = refused(await once(doors, key), 422, "invalid")
    assert list(problem["errors"]) == ["Idempotency-Key"]
    assert not ran


@pytest.mark.gen_test
async def test_a_repeat_gets_the_first_answer_byte_for_byte(doors):
    first, again = await once(doors), await once(doors)
    assert (first.status_code, again.status_code, ran["once"]) == (201, 201, 1)
    assert first.content == again.content
    assert ("Idempotent-Replay" in first.headers, again.headers["Idempotent-Replay"]) == (False, "true")


@pytest.mark.gen_test
async def test_a_call_that_answers_nothing_is_repeated_as_nothing(doors):
    options: dict[str, Any] = {"token": doors.token(), "headers": {"Idempotency-Key": "k1"}}
    answers = [await doors.ask("PUT", "/once", **options) for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b""), (204, b"")]
    assert ran["once"] == 1


@pytest.mark.gen_test
async def test_keys_belong_to_accounts(doors):
    await once(doors)
    other = await once(doors, token=doors.token(account="a2"), text="b")
    assert (other.status_code, ran["once"]) == (201, 2)


@pytest.mark.gen_test
async def test_the_same_key_for_another_body_is_a_conflict(doors):
    await once(doors)
    refused(await once(doors, text="b"), 409, "idempotency_conflict")
    assert ran["once"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(("text", "status"), [("refuse", 409), ("fail", 500)])
async def test_a_refused_call_gives_its_key_back(doors, text, status):
    assert (await once(doors, text=text)).status_code == status
    assert await doors.ctx.store.db["idempotency"].count_documents({}) == 0
    assert (await once(doors, text="b")).status_code == 201


@pytest.mark.gen_test
async def test_while_the_first_runs_its_twin_is_told_to_wait(doors):
    held["slow"] = asyncio.Event()
    first = asyncio.gather(once(doors, text="slow"))
    await asyncio.wait_for(held["begun"].wait(), 5)
    twin = await once(doors, text="slow")
    refused(twin, 409, "in_progress")
    assert twin.headers["Retry-After"] == "1"
    held["slow"].set()
    [answer] = await first
    assert (answer.status_code, ran["once"]) == (201, 1)
    assert (await once(doors, text="slow")).content == answer.content


@pytest.mark.gen_test
async def test_of_many_twins_at_once_one_runs(doors):
    answers = await asyncio.gather(*(once(doors) for _ in range(8)))
    assert ran["once"] == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1


@pytest.mark.gen_test
async def test_a_call_whose_process_died_is_taken_over_after_half_a_minute(doors):
    held["slow"] = asyncio.Event()
    first = asyncio.gather(once(doors, text="slow"))
    await asyncio.wait_for(held["begun"].wait(), 5)
    doors.ctx.clock.step(STALE_SECONDS)
    refused(await once(doors, text="slow"), 409, "in_progress")
    doors.ctx.clock.step(1)
    held["begun"].clear()
    second = asyncio.gather(once(doors, text="slow"))
    await asyncio.wait_for(held["begun"].wait(), 5)
    refused(await once(doors, text="slow"), 409, "in_progress")
    assert ran["once"] == 2
    held["slow"].set()
    await asyncio.gather(first, second)
    assert (await once(doors, text="slow")).headers["Idempotent-Replay"] == "true"


# --- what is counted


@pytest.mark.gen_test
async def test_an_invented_method_makes_no_label_of_its_own(doors):
    def seen(method: str) -> float | None:
        labels = {"handler": "PlainHandler", "method": method, "status": "405"}
        return metrics.REQUESTS.labels(**labels)._sum.get()

    await doors.ask("INVENTED", "/plain")
    names = {sample.labels["method"] for metric in metrics.REQUESTS.collect() for sample in metric.samples}
    assert "INVENTED" not in names
    assert seen("other") > 0


def test_the_sign_of_a_method_is_found_and_only_there():
    assert sign_of(ThingsHandler, "get").summary == "所有"
    assert [sign_of(ThingsHandler, method) for method in ("put", "patch", "head")] == [None, None, None]


# --- the audit trail


async def trail_of(doors):
    entries = await doors.ctx.store.db["audit_entries"].find({}).to_list(None)
    return [(one["actor"], one["role"], one["act"], one["subject"]) for one in entries]


@pytest.mark.gen_test
async def test_what_was_shown_to_whom_is_in_the_trail_under_the_requests_id(doors, io_loop):
    await doors.ctx.store.db["audit_entries"].delete_many({})
    answer = await doors.ask("GET", "/records/t1/parts/p1", token=doors.token("doctor", account="d1"))
    assert answer.json() == {"name": "p1"}
    assert await trail_of(doors) == [("d1", "doctor", "thing.read", "thing:t1")]
    [entry] = await doors.ctx.store.db["audit_entries"].find({}).to_list(None)
    assert (entry["request"], entry["address"]) == (answer.headers["X-Request-Id"], "127.0.0.1")


@pytest.mark.gen_test
async def test_a_list_is_about_no_one_thing_and_a_door_that_writes_itself_notes_once(doors):
    await doors.ctx.store.db["audit_entries"].delete_many({})
    await doors.ask("GET", "/records", token=doors.token())
    answer = await doors.ask("HEAD", "/records/t1/parts/p1", token=doors.token())
    assert answer.headers["X-Part"] == "p1"
    assert await trail_of(doors) == [
        ("a1", "patient", "thing.list", None),
        ("other", "link", "thing.read", "thing:t1"),
    ]


@pytest.mark.gen_test
async def test_what_was_refused_was_not_shown_and_is_not_in_the_trail(doors):
    await doors.ctx.store.db["audit_entries"].delete_many({})
    refused(await doors.ask("GET", "/records/none/parts/p1", token=doors.token()), 404, "not_found")
    refused(await doors.ask("GET", "/records/t1/parts/p1", token=doors.token("nurse")), 403, "forbidden")
    assert await trail_of(doors) == []


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_nothing_is_shown_when_the_trail_is_away(doors, monkeypatch):
    async def away(entries):
        raise AutoReconnect("away")

    monkeypatch.setattr(doors.ctx.audit, "add", away)
    for method in ("GET", "HEAD"):
        answer = await doors.ask(method, "/records/t1/parts/p1", token=doors.token())
        assert (answer.status_code, b"p1" in answer.content, answer.headers.get("X-Part")) == (503, False, None)
