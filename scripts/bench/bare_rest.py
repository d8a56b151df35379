"""The baseline of REST: a bare Tornado handler that makes the hospital's driver calls, dumps what it read, no more.

Same loop, same Tornado, same drivers with the same options as the hospital. It reads no token and no body, checks
nothing, opens no sealed field and shapes no answer: the request line names whose turn it is, the calls of `CALLS` are
made one after the other, and the documents read last are dumped by `json.dumps`. What the hospital asks of its stores
for a request is a row here, and a test counts both sides; whoever adds a call there adds its row.
"""

import asyncio
import functools
import json
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from app.settings import read
from storage.mongo import Store
from storage.redis import Redis, connect

PAGE: Final = 21  # the hospital reads one more than it shows
_WINDOW: Final = 500
# What the limiter's script does when the call is allowed.
_ALLOW: Final = """
local now, limit, expiry = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest = redis.call('lindex', KEYS[1], limit - 1)
if oldest and tonumber(oldest) >= now - expiry then return false end
redis.call('lpush', KEYS[1], now)
redis.call('ltrim', KEYS[1], 0, limit - 1)
redis.call('expire', KEYS[1], expiry)
return true
"""


@dataclass
class Turn:
    """One request: whose, for which visit, and what was read for it. `new` are the ids of a visit to be created."""

    account: str
    visit: str
    read: dict[str, Any] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)

    @functools.cached_property
    def answer(self) -> str:
        """What was read, dumped once."""
        shown = [self.read[name] for name in ("visits", "visit", "order", "last_seq") if name in self.read]
        return json.dumps(shown, ensure_ascii=False, default=datetime.isoformat)


class Bare:
    """The open drivers, and the visit and the order that creations copy."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self.store = store
        self.db = store.db
        self.redis = redis
        self.allow = redis.register_script(_ALLOW)
        self.messages = store.majority("messages")
        self.like: dict[str, Any] = {}
        self.order: dict[str, Any] = {}

    async def learn(self, visit: str) -> None:
        """Take this visit and its order as what creations store."""
        found = await self.db["visits"].find_one({"_id": visit})
        if found is None:
            raise LookupError("there is no such visit")
        self.like = found
        self.order = await self.db["orders"].find_one({"_id": found["order_id"]}) or {}

    async def answer(self, name: str, account: str, visit: str) -> str:
        """Make the calls of a request and dump what was read."""
        turn = Turn(account, visit)
        for call in CALLS[name]:
            await call.make(self, turn)
        return turn.answer


@dataclass(frozen=True)
class Call:
    """One driver call: why the hospital makes it, the command as the server sees it, and on what."""

    why: str
    command: str
    on: str
    make: Callable[[Bare, Turn], Awaitable[None]]


# --- what every request asks --------------------------------------------------------------------------


async def _standing(bare: Bare, turn: Turn) -> None:
    await bare.redis.mget(f"revoked:{{{turn.account}}}:{turn.account}", f"epoch:{{{turn.account}}}")


STANDING: Final = Call("whether the token still stands", "MGET", "revoked", _standing)

# --- reading --------------------------------------------------------------------------------------------


async def _page(bare: Bare, turn: Turn) -> None:
    stages: list[dict[str, Any]] = [{"$match": {"patient_account": turn.account}}, {"$sort": {"_id": -1}}]
    turn.read["visits"] = await bare.store.aggregate(bare.db["visits"], [*stages, {"$limit": PAGE}])


async def _visit(bare: Bare, turn: Turn) -> None:
    turn.read["visit"] = await bare.db["visits"].find_one({"_id": turn.new.get("visit", turn.visit)})


async def _order(bare: Bare, turn: Turn) -> None:
    turn.read["order"] = await bare.db["orders"].find_one({"_id": turn.read["visit"]["order_id"]})


async def _hint(bare: Bare, turn: Turn) -> None:
    found = await bare.db["conversations"].find_one({"_id": turn.read["visit"]["_id"]}, {"last_seq": 1})
    turn.read["last_seq"] = found["last_seq"] if found else 0


async def _numbers(bare: Bare, turn: Turn) -> None:
    last = turn.read["last_seq"]
    window = {"$gt": last, "$lte": last + _WINDOW}
    asked = bare.messages.find({"conversation": turn.read["visit"]["_id"], "seq": window}, {"_id": 0, "seq": 1})
    await asked.to_list(None)


ORDER: Final = Call("the order of the visit", "find", "orders", _order)
SHOWN: Final = (
    ORDER,
    Call("the chat's last number as noted", "find", "conversations", _hint),
    Call("the numbers above it", "find", "messages", _numbers),
)

# --- creating -------------------------------------------------------------------------------------------


async def _hit(bare: Bare, turn: Turn) -> None:
    now = datetime.now(UTC).timestamp()
    await bare.allow(keys=[f"limit:bare/{turn.account}"], args=[now, 10_000, 3_600])


async def _begin(bare: Bare, turn: Turn) -> None:
    turn.new = {name: secrets.token_hex(13) for name in ("visit", "order_id", "request_id")}
    key = f"{turn.account}:{turn.new['request_id']}"
    note = {"_id": key, "fingerprint": key, "status": None, "answer": None, "started_at": datetime.now(UTC)}
    await bare.db["idempotency"].insert_one(note)


async def _earlier(bare: Bare, turn: Turn) -> None:
    asked = {"patient_account": turn.account, "request_id": turn.new["request_id"]}
    await bare.db["visits"].find_one(asked)


def _one(collection: str, of: Callable[[Mapping[str, Any]], str]) -> Callable[[Bare, Turn], Awaitable[None]]:
    async def read(bare: Bare, turn: Turn) -> None:
        await bare.db[collection].find_one({"_id": of(bare.like)})

    return read


def _text(place: int) -> Callable[[Bare, Turn], Awaitable[None]]:
    async def read(bare: Bare, turn: Turn) -> None:
        kind = bare.like["consents"][place]["kind"]
        asked = bare.db["consent_texts"].find({"kind": kind, "effective_at": {"$lte": datetime.now(UTC)}})
        await asked.to_list(None)

    return read


async def _add_visit(bare: Bare, turn: Turn) -> None:
    now = datetime.now(UTC)
    named = {
        "_id": turn.new["visit"],
        "patient_account": turn.account,
        "request_id": turn.new["request_id"],
        "order_id": turn.new["order_id"],
    }
    due = [
        {"kind": kind, "key": kind, "state": "due", "next_at": now, "lease": None, "attempts": 0, "error": None}
        for kind in ("visit.open_order", "visit.retain_patient")
    ]
    await bare.db["visits"].insert_one({**bare.like, **named, "duties": due})


async def _lease(bare: Bare, turn: Turn) -> None:
    duty = turn.read["visit"]["duties"][0]
    held = {"$elemMatch": {"key": duty["key"], "state": "due", "next_at": duty["next_at"]}}
    change = {"$set": {"duties.$.lease": "bare"}, "$inc": {"duties.$.attempts": 1}}
    await bare.db["visits"].update_one({"_id": turn.new["visit"], "duties": held}, change)


async def _add_order(bare: Bare, turn: Turn) -> None:
    named = {"_id": turn.new["order_id"], "subject_id": turn.new["visit"], "account_id": turn.account}
    await bare.db["orders"].insert_one({**bare.order, **named})


async def _retain(bare: Bare, turn: Turn) -> None:
    until = {"$max": {"retain_until": bare.like["retain_until"]}}
    await bare.db["patients"].update_one({"_id": bare.like["patient"]["id"]}, until)


async def _finish(bare: Bare, turn: Turn) -> None:
    done = {"key": turn.read["visit"]["duties"][0]["key"], "lease": "bare"}
    which = {"_id": turn.new["visit"], "duties": {"$elemMatch": done}}
    await bare.db["visits"].update_one(which, {"$pull": {"duties": done}})


async def _keep(bare: Bare, turn: Turn) -> None:
    which = {"_id": f"{turn.account}:{turn.new['request_id']}", "status": None}
    await bare.db["idempotency"].update_one(which, {"$set": {"status": 201, "answer": turn.answer}})


VISIT: Final = Call("the visit as it stands", "find", "visits", _visit)


def _run(duty: Call) -> tuple[Call, ...]:
    """A duty as the runner runs it."""
    return (
        VISIT,
        Call("the lease of the duty", "update", "visits", _lease),
        VISIT,
        duty,
        Call("the duty is done", "update", "visits", _finish),
    )


CALLS: Final[Mapping[str, Sequence[Call]]] = {
    "list": (STANDING, Call("the page", "aggregate", "visits", _page)),
    "detail": (STANDING, VISIT, *SHOWN),
    "create": (
        STANDING,
        Call("visits an hour", "EVALSHA", "limit", _hit),
        Call("the request's key", "insert", "idempotency", _begin),
        Call("whether it was submitted before", "find", "visits", _earlier),
        Call("the doctor", "find", "doctors", _one("doctors", lambda visit: visit["doctor_id"])),
        Call("the patient", "find", "patients", _one("patients", lambda visit: visit["patient"]["id"])),
        Call("the type", "find", "consult_types", _one("consult_types", lambda visit: visit["consult_type"]["id"])),
        Call("the first consent's text", "find", "consent_texts", _text(0)),
        Call("the second consent's text", "find", "consent_texts", _text(1)),
        Call("the visit", "insert", "visits", _add_visit),
        *_run(Call("its order", "insert", "orders", _add_order)),
        *_run(Call("the patient is kept as long", "update", "patients", _retain)),
        VISIT,
        ORDER,
        VISIT,
        *SHOWN,
        Call("the answer under its key", "update", "idempotency", _keep),
    ),
}


class BareHandler(RequestHandler):
    """`/list/{account}`, `/detail/{account}/{visit}`, `POST /create/{account}`."""

    async def get(self, name: str, account: str, visit: str = "") -> None:
        """Make the calls and dump."""
        bare: Bare = self.settings["bare"]
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(await bare.answer(name, account, visit))

    post = get


class LearnHandler(RequestHandler):
    """`POST /learn/{visit}` before anything is created."""

    async def post(self, visit: str) -> None:
        """What is created from now on is like this visit."""
        await self.settings["bare"].learn(visit)


def application(bare: Bare) -> Application:
    """What the bare server serves."""
    routes: list[Any] = [
        (r"/(list|detail|create)/(\w+)(?:/(\w+))?", BareHandler),
        (r"/learn/(\w+)", LearnHandler),
    ]
    return Application(routes, bare=bare, log_function=lambda handler: None)


async def serve() -> None:
    """Until SIGTERM or SIGINT, on the stores of the hospital's settings; the first line says the port."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    settings = read()
    store = await Store.open(settings.mongo_uri, settings.mongo_database, driver=settings.mongo_driver)  # type: ignore[arg-type]  # checked by app.settings
    redis = connect(settings.redis_url)
    server = HTTPServer(application(Bare(store, redis)), idle_connection_timeout=75, body_timeout=600)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.stop()
    await redis.aclose()
    await store.close()


if __name__ == "__main__":
    uvloop.run(serve())
    sys.exit(0)
