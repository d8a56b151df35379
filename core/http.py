"""What every REST handler shares: who may call, reading and shaping JSON, problem+json, idempotency, limits.

A handler's method is a door with a sign on it: `@endpoint(roles=…, body=…, answer=…)`. A method without the sign is
refused to everybody, and the OpenAPI document is read off the signs (`core/openapi.py`).
"""

import asyncio
import functools
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import structlog
import tornado.web
from marshmallow import Schema, ValidationError
from tornado.iostream import StreamClosedError
from ulid import ULID

from core import audit, idempotency, metrics
from core.auth import ANYONE, Actor, Caller, authenticate
from core.context import Context
from core.errors import (
    AppError,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
    refusal_of,
)
from core.policy import MIB
from core.wire import read_json
from storage.mongo import is_broken

log = structlog.get_logger()

MAX_BODY: Final = MIB
# The body of a refused request is still read and thrown away up to here: a client that is writing reads no answer, and
# a connection closed in front of it may lose the answer altogether.
DRAINED_BODY: Final = 16 * MIB
# The body of a method that takes none: fields it does not know are refused there, too.
NOTHING: Final = Schema()


@dataclass(frozen=True)
class Limit:
    """At most `policy.<amount>` calls in `per_seconds`, counted by account or by network address."""

    name: str
    amount: str
    per_seconds: int
    by: str = "account"


@dataclass(frozen=True)
class Endpoint:
    """The sign on a door: what OpenAPI says and what `ApiHandler` enforces."""

    roles: frozenset[str]
    summary: str
    body: Schema | None = None
    query: Schema | None = None
    answer: Schema | None = None
    status: int = 200
    errors: tuple[str, ...] = ()
    idempotent: bool = False
    limits: tuple[Limit, ...] = ()
    call_scope: bool = False
    media_type: str = "application/json"
    parameters: tuple[Mapping[str, Any], ...] = ()
    reads: str = ""
    responses: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    audits: str = ""


Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


def endpoint(
    *,
    roles: frozenset[str],
    summary: str,
    body: Schema | None = None,
    query: Schema | None = None,
    answer: Schema | None = None,
    status: int = 200,
    errors: tuple[str, ...] = (),
    idempotent: bool = False,
    limits: tuple[Limit, ...] = (),
    call_scope: bool = False,
    media_type: str = "application/json",
    parameters: tuple[Mapping[str, Any], ...] = (),
    reads: str = "",
    responses: Mapping[int, Mapping[str, Any]] | None = None,
    audits: str = "",
) -> Callable[[Method], Method]:
    """Put the sign on a handler's method.

    The method gets the path's groups, then `body` and `query` as loaded by their schemas, and returns what `answer`
    dumps with `status`; without `answer` it writes for itself or answers 204. `errors` are the codes it may refuse
    with beyond the common ones. `call_scope` also lets in tokens that are bound to one call. `reads` is the type of a
    raw body, which the method reads by itself. `responses` are further answers as OpenAPI describes them, by status;
    what they say of a status that follows from the rest is added to it.

    `audits` names the act (`visit.read`) by which the audit trail keeps who was shown what: appended after the method
    and before its answer, which is 503 when that fails. Its subject is the first of the path's groups, of the kind that
    the name begins with. A method that writes for itself calls `note_read` before its first byte.
    """
    sign = Endpoint(
        roles=roles,
        summary=summary,
        body=body,
        query=query,
        answer=answer,
        status=status,
        errors=errors,
        idempotent=idempotent,
        limits=limits,
        call_scope=call_scope,
        media_type=media_type,
        parameters=parameters,
        reads=reads,
        responses=responses or {},
        audits=audits,
    )

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        async def run(self: "ApiHandler", *path: str) -> None:
            if self.too_large:
                raise TooLarge
            arguments: dict[str, Any] = {}
            if sign.query is not None:
                arguments["query"] = self.load_query(sign.query)
            if sign.body is not None:
                arguments["body"] = self.load_body(sign.body)
            elif self.body and not sign.reads and self.request.method not in ("GET", "HEAD"):
                self.load_body(NOTHING)
            work = functools.partial(method, self, *path, **arguments)
            if sign.idempotent:
                await self.answer_once(work, sign)
                return
            answer = await work()
            if sign.audits:
                await self.note_read()
            self.reply(answer, sign)

        run.sign = sign  # type: ignore[attr-defined]  # functions carry their sign as an attribute
        return run  # type: ignore[return-value]  # a coroutine function of the same shape

    return decorate


def sign_of(handler: type[tornado.web.RequestHandler], method: str) -> Endpoint | None:
    """The sign on `method` (lower case), None where the handler does not have that door."""
    sign: Endpoint | None = getattr(getattr(handler, method, None), "sign", None)
    return sign


class HospitalApplication(tornado.web.Application):
    """Tornado's application with the context, typed, instead of the settings bag."""

    def __init__(self, ctx: Context, routes: list[Any], **settings: Any) -> None:
        self.ctx = ctx
        super().__init__(routes, default_handler_class=UnknownPathHandler, log_function=_log_request, **settings)


class BaseHandler(tornado.web.RequestHandler):
    """Request id, security headers, and errors as RFC 9457 problem details."""

    application: HospitalApplication
    request_id: str = ""

    @property
    def ctx(self) -> Context:
        """The process's context."""
        return self.application.ctx

    def initialize(self) -> None:
        """Give the request its id, which logs and error bodies carry."""
        self.request_id = str(ULID())
        self.set_header("X-Request-Id", self.request_id)
        audit.asked.set(audit.Request(self.request_id, self.request.remote_ip or ""))

    def set_default_headers(self) -> None:
        """Nothing here is public, framed, run, sniffed or named to others."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Problem details for our refusals, Tornado's own errors and bugs alike."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        refusal = refusal_of(error) if error else None
        if refusal is None:
            refusal = _tornado_refusal(status_code)
        self.set_status(refusal.status)
        if refusal.code == "method_not_allowed":
            self.set_header("Allow", ", ".join(methods_of(type(self))))
        if refusal.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if refusal.retry_after is not None or refusal.status in (429, 503):
            self.set_header("Retry-After", str(max(1, math.ceil(refusal.retry_after or 0))))
        problem = {
            "type": f"/api/docs/errors#{refusal.code}",
            "title": refusal.title,
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
            "errors": refusal.errors,
            "request_id": self.request_id,
        }
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps(problem, ensure_ascii=False))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only what nobody expected is logged as an error, under the request's id."""
        if value is None or isinstance(value, tornado.web.HTTPError):
            return
        if is_broken(value):  # it goes on answering, so that nothing else tells of it
            log.error("store.broken", request=self.request_id, handler=type(self).__name__)
        if refusal_of(value) is not None:
            return
        log.error("http.unexpected", request=self.request_id, handler=type(self).__name__, exc_info=(typ, value, tb))


@tornado.web.stream_request_body
class ApiHandler(BaseHandler):
    """A door of the REST API. The body is read only after role, scope and size have been checked."""

    max_body: int = MAX_BODY
    too_large = False
    caller: Caller
    _received = 0
    _noted = False

    async def prepare(self) -> None:
        """Authenticate, check role and limits, refuse bodies by their announced length."""
        self.body = bytearray()
        # Before the first await: the connection starts reading the body by this number. What it would refuse by itself
        # it refuses without a word, so it stands above what is refused here.
        self.request.connection.set_max_body_size(max(DRAINED_BODY, self.max_body) + MIB)  # type: ignore[union-attr]  # a request on a server has one
        try:
            sign = sign_of(type(self), (self.request.method or "").lower())
            if sign is None:
                raise _missing(type(self), self.request.method or "")
            if self._announced() > self.max_body:
                raise TooLarge
            await self._admit(sign)
        except Exception:
            await self.drain()
            raise

    def _announced(self) -> int:
        length = self.request.headers.get("Content-Length", "0").partition(",")[0]
        return int(length) if length.isascii() and length.isdigit() and len(length) < 100 else 0

    async def drain(self) -> None:
        """Let the body of a refused request come and go, unless the client waits for our word or it is too much."""
        headers = self.request.headers
        coming = 0 < self._announced() <= DRAINED_BODY or "Transfer-Encoding" in headers
        if not coming or "Expect" in headers:
            return
        # Tornado sends the body once its `_prepared_future` is done and tells its end by `_body_future`; by itself it
        # does so only after `prepare` has returned, and a refused request must not get that far. The handler's own
        # `data_received` is kept out of it, too.
        drained: asyncio.Future[None] = self.request._body_future

        def throw_away(chunk: bytes) -> None:
            self._received += len(chunk)
            if self._received > DRAINED_BODY and not drained.done():
                drained.set_result(None)

        self.__dict__["data_received"] = throw_away
        cast("asyncio.Future[None]", self._prepared_future).set_result(None)
        try:
            await drained
        except StreamClosedError:
            log.info("http.left", request=self.request_id)

    async def _admit(self, sign: Endpoint) -> None:
        if sign.roles != ANYONE:
            self.caller = await authenticate(self.ctx, self._bearer())
            if self.caller.scope == "call" and not sign.call_scope:
                raise Forbidden
            if self.caller.role not in sign.roles:
                raise Forbidden
        for limit in sign.limits:
            who = self.caller.id if limit.by == "account" else (self.request.remote_ip or "")
            wait = await self.ctx.limiter.hit(
                limit.name, who, getattr(self.ctx.policy, limit.amount), limit.per_seconds
            )
            if wait is not None:
                metrics.RATE_LIMITED.labels(limit.name).inc()
                raise RateLimited(retry_after=wait)

    def _bearer(self) -> str:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        return token

    def data_received(self, chunk: bytes) -> None:
        """Collect the body; an unannounced one that grows too large is thrown away and then refused."""
        if self._finished:
            return
        self._received += len(chunk)
        self.too_large = self._received > self.max_body
        if not self.too_large:
            self.body += chunk
            return
        self.body.clear()
        if self._received > max(self.max_body, DRAINED_BODY):
            self.send_error(413, exc_info=(TooLarge, TooLarge(), None))

    def load_body(self, schema: Schema) -> dict[str, Any]:
        """The JSON body as the schema loads it; `Malformed`, `UnsupportedMedia` or `Invalid` naming the fields."""
        kind = self.request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMedia("请求内容须为 application/json")
        try:
            raw = read_json(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise Malformed("请求内容不是有效的 JSON") from error
        if not isinstance(raw, dict):
            raise Malformed("请求内容须为 JSON 对象")
        return _load(schema, raw)

    def load_query(self, schema: Schema) -> dict[str, Any]:
        """The query string as the schema loads it; unknown names are refused like unknown fields."""
        given = self.request.query_arguments
        twice = {name: ["不能重复"] for name, values in given.items() if len(values) > 1}
        if twice:
            raise Invalid(errors=twice)
        return _load(schema, {name: self.get_query_argument(name) for name in given})

    def reply(self, answer: Any, sign: Endpoint) -> None:
        """Write what the sign promises."""
        if self._finished:
            return
        if sign.answer is not None:
            self._send(sign.status, sign.answer.dump(answer))
        elif sign.media_type == "application/json":
            self._send(sign.status, None)
        else:
            self.finish()

    def _send(self, status: int, document: Any) -> None:
        """A JSON body, or none: then 200 is 204."""
        if document is not None:
            self.set_status(status)
            self.write_json(document)
            return
        self.set_status(204 if status == 200 else status)
        self.clear_header("Content-Type")
        self.finish()

    def write_json(self, document: Any) -> None:
        """Finish with a JSON body."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, ensure_ascii=False, allow_nan=False))

    async def answer_once(self, work: Callable[[], Awaitable[Any]], sign: Endpoint) -> None:
        """Run at most once for the caller's `Idempotency-Key`; a repeat gets the first answer back."""
        call = idempotency.Call(
            account=self.caller.id,
            key=self.request_key,
            method=self.request.method or "",
            path=self.request.path,
            body=bytes(self.body),
            started_at=self.ctx.clock.now(),
        )
        earlier = await idempotency.begin(self.ctx, call)
        if earlier is not None:
            self.set_header("Idempotent-Replay", "true")
            self._send(*earlier)
            return
        try:
            answer = await work()
        except BaseException:
            await idempotency.forget(self.ctx, call)
            raise
        document = sign.answer.dump(answer) if sign.answer is not None else None
        await idempotency.keep(self.ctx, call, sign.status, document)
        self._send(sign.status, document)

    async def note_read(self, by: Actor | None = None) -> None:
        """Append to the audit trail what the sign says is audited, once; `by` where the door knows its caller itself.

        Raises what the store raises when it is away: then nothing may be shown.
        """
        if self._noted:
            return
        sign = sign_of(type(self), (self.request.method or "").lower())
        if sign is None:
            raise RuntimeError("a door without a sign")
        kind = sign.audits.partition(".")[0]
        subject = f"{kind}:{self.path_args[0]}" if self.path_args else None
        await audit.append(self.ctx, by or self.caller.actor, sign.audits, subject=subject)
        self._noted = True

    @property
    def request_key(self) -> str:
        """The `Idempotency-Key` as sent; services keep it under a unique index behind what they create."""
        return self.request.headers.get("Idempotency-Key", "")


class UnknownPathHandler(ApiHandler):
    """404 as problem+json for every path nobody serves."""

    async def prepare(self) -> None:
        """There is nothing here for anyone."""
        await self.drain()
        raise NotFound


def _load(schema: Schema, raw: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(raw)
    except ValidationError as error:
        raise Invalid(errors=_flatten(error.messages)) from error
    return loaded


def _flatten(messages: Any, prefix: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages as `condition.description: […]`, the way a form finds its field."""
    if isinstance(messages, Mapping):
        flat: dict[str, list[str]] = {}
        for name, inner in messages.items():
            flat |= _flatten(inner, f"{prefix}.{name}" if prefix else str(name))
        return flat
    return {prefix: [str(said) for said in messages]}


def _tornado_refusal(status: int) -> AppError:
    codes = {
        400: "malformed",
        401: "unauthenticated",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        413: "too_large",
        503: "unavailable",
    }
    return AppError(code=codes.get(status, "internal"))


def _missing(handler: type[tornado.web.RequestHandler], method: str) -> Exception:
    """405 where there is no such door, 403 where somebody forgot to put the sign on it."""
    unimplemented = tornado.web.RequestHandler._unimplemented_method
    if getattr(handler, method.lower(), unimplemented) is unimplemented:
        return tornado.web.HTTPError(405)
    return Forbidden()


def methods_of(handler: type[tornado.web.RequestHandler]) -> list[str]:
    """What may be asked of a handler: the signed methods, or all that are there where it takes no signs."""
    unimplemented = tornado.web.RequestHandler._unimplemented_method
    if issubclass(handler, ApiHandler):
        return [name for name in handler.SUPPORTED_METHODS if sign_of(handler, name.lower())]
    return [name for name in handler.SUPPORTED_METHODS if getattr(handler, name.lower()) is not unimplemented]


def _log_request(handler: tornado.web.RequestHandler) -> None:
    seconds = handler.request.request_time()
    name = type(handler).__name__
    method = handler.request.method if handler.request.method in handler.SUPPORTED_METHODS else "other"
    metrics.REQUESTS.labels(name, method, str(handler.get_status())).observe(seconds)
    caller = getattr(handler, "caller", None)
    log.info(
        "http.request",
        request=getattr(handler, "request_id", ""),
        handler=name,
        method=method,
        status=handler.get_status(),
        account=caller.id if caller else None,
        ms=round(seconds * 1000, 1),
        at=int(time.time()),
    )
