from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pymongo.monitoring import CommandListener
from tornado.httpserver import HTTPServer

from app import serving, wiring
from core.ids import new_id
from scripts.bench import rest
from scripts.bench.bare_rest import CALLS, Bare, application
from scripts.embedded import free_port
from storage.mongo import Store
from storage.redis import connect


class Heard(CommandListener):
    """Every command a driver sent, as (command, collection)."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []

    def started(self, event) -> None:
        if event.command_name not in ("hello", "ismaster", "ping"):
            self.commands.append((event.command_name, event.command[event.command_name]))

    def succeeded(self, event) -> None:
        pass

    def failed(self, event) -> None:
        pass


class Listened:
    """A patient who asks two servers for the same, and what the stores were told meanwhile."""

    def __init__(self, store, redis, app, bare, heard) -> None:
        self.store, self.redis, self.heard = store, redis, heard
        self.ports = {"hospital": app, "bare": bare}
        self.scene: rest.Scene

    async def asked(self, side: str, name: str):
        """What one request of this kind made its server ask of MongoDB, and of Redis for this account."""
        request = next(getattr(self.scene, side)(name))
        account = self.scene.patients[0].account
        async with self.redis.monitor() as monitor, rest.clients() as http:
            self.heard[side].commands.clear()
            url = f"http://127.0.0.1:{self.ports[side]}{request.path}"
            answer = await http.request(request.method, url, headers=request.headers, content=request.content)
            assert answer.is_success, answer.text
            await self.redis.get("the end")
            told = [one async for one in until_the_end(monitor) if account in one["command"]]
        in_redis = [one["command"].split()[0] for one in told if one["client_type"] != "lua"]
        return self.heard[side].commands, in_redis, answer.json()


async def until_the_end(monitor):
    async for one in monitor.listen():
        if "the end" in one["command"]:
            return
        yield one


class Ground:
    """As `scripts.bench.ground` has it, of a hospital in this process."""

    def __init__(self, url, tokens, now) -> None:
        self.url, self._tokens, self._now = url, tokens, now

    def patients(self, count):
        how = {"role": "patient", "audience": "patient", "epoch": 0, "now": self._now, "seconds": 900}
        return {
            account: self._tokens.issue(account=account, session=new_id(), **how)
            for account in (new_id() for _ in range(count))
        }


@asynccontextmanager
async def listened(hospital, monkeypatch):
    heard = {"hospital": Heard(), "bare": Heard()}

    class Overheard(Store):
        @classmethod
        async def open(cls, *given, **named):
            return await super().open(*given, **named, listeners=[heard["hospital"]])

    monkeypatch.setattr(wiring, "Store", Overheard)
    monkeypatch.setattr(rest, "ACCOUNTS", 1)
    monkeypatch.setattr(rest, "VISITS_EACH", 2)
    settings = hospital.settings
    app = await serving.start(replace(settings, listen_port=0), "api")
    store = await Store.open(settings.mongo_uri, settings.mongo_database, listeners=[heard["bare"]])
    redis = connect(settings.redis_url)
    bare, port = Bare(store, redis), free_port()
    server = HTTPServer(application(bare))
    server.listen(port, "127.0.0.1")
    try:
        ground = Ground(f"http://127.0.0.1:{app.port}", app.ctx.tokens, app.ctx.clock.now())
        both = Listened(store, redis, app.port, port, heard)
        both.scene = await rest.set_scene(ground)
        await bare.learn(both.scene.patients[0].visits[0])
        for side in heard:  # scripts are loaded once
            await both.asked(side, "create")
        yield both
    finally:
        server.stop()
        await server.close_all_connections()
        await app.stop()
        await redis.aclose()
        await store.close()


@pytest.fixture
def both(hospital, monkeypatch, io_loop):
    opened = listened(hospital, monkeypatch)
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.mark.gen_test(timeout=60)
async def test_the_bare_handler_makes_the_hospitals_calls_one_by_one_and_dumps_what_it_read(both):
    answers = {}
    for name, calls in CALLS.items():
        stated = [(call.command, call.on) for call in calls]
        in_redis = [command for command, _ in stated if command.isupper()]
        in_mongo = [(command, on) for command, on in stated if not command.isupper()]
        for side in ("hospital", "bare"):
            commands, told, answers[side, name] = await both.asked(side, name)
            assert (side, name, commands) == (side, name, in_mongo)
            assert (side, name, told) == (side, name, in_redis)
    [listed], [visit, order, last_seq] = answers["bare", "list"], answers["bare", "detail"]
    assert [one["_id"] for one in listed] == [one["id"] for one in answers["hospital", "list"]["items"]]
    ours = answers["hospital", "detail"]
    assert (visit["_id"], order["_id"], last_seq) == (ours["id"], ours["order"]["id"], ours["last_seq"])


@pytest.mark.gen_test(timeout=60)
async def test_what_the_bare_handler_creates_is_a_visit_like_the_hospitals(both):
    documents = {}
    for side in ("hospital", "bare"):
        _, _, answer = await both.asked(side, "create")
        id_ = answer["id"] if side == "hospital" else answer[0]["_id"]
        visit = await both.store.db["visits"].find_one({"_id": id_})
        order = await both.store.db["orders"].find_one({"_id": visit["order_id"]})
        documents[side] = (visit, order)
    (visit, order), (bare_visit, bare_order) = documents["hospital"], documents["bare"]
    assert bare_visit.keys() == visit.keys()
    assert bare_order.keys() == order.keys()
    assert (visit["duties"], bare_visit["duties"]) == ([], [])
    assert bare_order["subject_id"] == bare_visit["_id"]
