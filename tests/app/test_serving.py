import asyncio
import errno
import gc
import socket
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from app import serving
from app.settings import BadSettings
from core import tasks
from core.directory import service as directory
from core.ports import Unavailable
from scripts.acting import NotAsPromised, until
from scripts.embedded import free_port
from tests.people import somebody
from tests.rtc.standing_in import Rooms

# What only a process of that role answers; every process tells whether it lives.
PATHS = {
    "/healthz": {"all", "api", "im", "rtc", "worker"},
    "/readyz": {"all", "api", "im", "rtc", "worker"},
    "/metrics": {"all", "api", "im", "rtc", "worker"},
    "/api/v1/departments": {"all", "api"},
    "/api/v1/openapi.json": {"all", "api"},
    "/api/v1/asyncapi.json": {"all", "api"},
    "/ws": {"all", "im"},
}


@pytest.fixture
def begin(hospital, io_loop):
    """Starts further processes of the hospital on ports of their own; those that still run are stopped."""
    begun = []

    async def start(role: str, **changes) -> serving.Process:
        settings = replace(hospital.settings, listen_port=0, **changes)
        begun.append(await serving.start(settings, role, media_half=Rooms().media()))
        return begun[-1]

    start.begun = begun
    yield start

    async def stop():
        for process in begun:
            await process.stop()

    io_loop.run_sync(stop, timeout=60)


def url_of(process) -> str:
    return f"http://127.0.0.1:{process.port}"


@pytest.mark.parametrize("role", ["api", "im", "rtc", "worker"])
@pytest.mark.gen_test(timeout=60)
async def test_a_role_serves_what_is_its_own_and_nothing_else(hospital, begin, role):
    process = await begin(role)
    answers = {path: await hospital.http.get(url_of(process) + path) for path in PATHS}
    assert {path: answer.status_code != 404 for path, answer in answers.items()} == {
        path: role in roles for path, roles in PATHS.items()
    }
    working = [name for name in tasks.running() if name == "worker.duties"]
    assert len(working) == (2 if role == "worker" else 1)  # the hospital of all tests has one already


@pytest.mark.gen_test(timeout=60)
async def test_a_call_process_beats_while_it_runs_and_leaves_with_its_stop(hospital, begin):
    process = await begin("rtc")
    assert process.ctx.process in await hospital.ctx.heartbeats.living()
    begin.begun.clear()
    await process.stop()
    assert process.ctx.process not in await hospital.ctx.heartbeats.living()


# Tornado lets go of the socket that it could not bind without closing it.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.gen_test(timeout=60)
async def test_a_taken_port_is_one_line_and_no_store_is_opened(hospital, monkeypatch):
    opened = []
    monkeypatch.setattr(serving, "open_hospital", lambda *given, **named: opened.append(given))
    taken = replace(hospital.settings, listen_port=hospital.process.port)
    with pytest.raises(BadSettings) as refused:
        await serving.start(taken, "api")
    assert str(refused.value) == f"cannot listen on 127.0.0.1:{hospital.process.port}: Address already in use"
    assert opened == []
    del refused
    gc.collect()


@pytest.mark.gen_test(timeout=60)
async def test_nobody_waits_in_line_for_a_process_that_is_not_ready(hospital, monkeypatch):
    port = free_port()
    opening, proceed = asyncio.Event(), asyncio.Event()

    async def slowly(settings, **how):
        opening.set()
        await proceed.wait()
        raise BadSettings("enough")

    monkeypatch.setattr(serving, "open_hospital", slowly)
    starting = tasks.spawn("test.starting", serving.start(replace(hospital.settings, listen_port=port), "im"))
    await opening.wait()
    with socket.socket() as knocking:
        assert knocking.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    proceed.set()
    with pytest.raises(BadSettings, match="enough"):
        await starting


# As above.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.gen_test(timeout=60)
async def test_a_port_that_was_taken_meanwhile_is_one_line_and_the_stores_are_let_go_of(hospital, monkeypatch):
    port = free_port()
    closed = []

    async def close():
        closed.append(True)

    with socket.socket() as other:

        async def meanwhile(settings, **how):
            other.bind(("127.0.0.1", port))
            other.listen()
            return SimpleNamespace(close=close)

        monkeypatch.setattr(serving, "open_hospital", meanwhile)
        with pytest.raises(BadSettings, match="Address already in use") as refused:
            await serving.start(replace(hospital.settings, listen_port=port), "im")
    assert closed == [True]
    del refused
    gc.collect()


@pytest.mark.gen_test(timeout=60)
async def test_a_start_that_fails_halfway_leaves_neither_port_nor_task_behind(hospital, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = tasks.running()
    (tmp_path / "tencent.json").write_text("{}")
    broken = replace(hospital.settings, listen_port=port, tencent_file=str(tmp_path / "tencent.json"))
    with pytest.raises(BadSettings) as refused:
        await serving.start(broken, "api")
    assert str(refused.value).endswith("tencent.json lacks secret_id")

    async def are_gone():
        return sorted(set(tasks.running()) - set(before)) == [] and len(tasks.running()) <= len(before)

    await until(are_gone)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.gen_test(timeout=60)
async def test_production_asks_the_store_what_it_is_and_does_not_start_on_the_embedded_one(hospital):
    # As an address of a real replica set would look.
    disguised = hospital.settings.mongo_uri.replace("retryWrites=false", "retryWrites=true")
    settings = replace(hospital.settings, production=True, mongo_uri=disguised, mongo_database="refused", listen_port=0)
    with pytest.raises(BadSettings) as refused:
        await serving.start(settings, "api")
    assert str(refused.value) == "MONGO_URI is the embedded server; production needs a MongoDB replica set"
    assert "refused" not in await hospital.ctx.store.db.client.list_database_names()


@pytest.mark.gen_test(timeout=60)
async def test_a_stop_finishes_what_is_being_answered_and_takes_nothing_new(hospital, begin, monkeypatch):
    process = await begin("api")
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly(ctx):
        asked.set()
        await answer.wait()
        await ctx.store.ping_write(ctx.clock.now())  # the stores are still there
        return real

    real = await directory.hospital(hospital.ctx)
    monkeypatch.setattr(directory, "hospital", slowly)
    async with httpx.AsyncClient(timeout=30) as http:
        waiting = tasks.spawn("test.asking", http.get(f"{url_of(process)}/api/v1/hospital"))
        await asked.wait()
        begin.begun.clear()
        stopping = tasks.spawn("test.stopping", process.stop())

        async def is_closed():
            with socket.socket() as knocking:
                return knocking.connect_ex(("127.0.0.1", process.port)) != 0

        await until(is_closed)
        assert not stopping.done()
        answer.set()
        answered = await waiting
        await stopping
    assert (answered.status_code, answered.json()["name"]) == (200, real["name"])


@pytest.mark.gen_test(timeout=60)
async def test_a_request_that_never_ends_is_cut_after_its_time(hospital, begin, monkeypatch):
    process = await begin("api")
    asked = asyncio.Event()

    async def never(ctx):
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(directory, "hospital", never)
    monkeypatch.setattr(serving, "DRAIN_SECONDS", 0.1)
    async with httpx.AsyncClient(timeout=30) as http:
        waiting = tasks.spawn("test.asking", _failure(http.get(f"{url_of(process)}/api/v1/hospital")))
        await asked.wait()
        begin.begun.clear()
        await asyncio.wait_for(process.stop(), 10)
        assert isinstance(await waiting, httpx.RemoteProtocolError)


async def _failure(request):
    try:
        await request
    except httpx.HTTPError as error:
        return error
    raise NotAsPromised("it was answered")


@pytest.mark.gen_test(timeout=60)
async def test_a_stop_sends_the_sockets_elsewhere(hospital, begin):
    process = await begin("im")
    line = await somebody(hospital, process).connect()
    begin.begun.clear()
    await process.stop()
    await asyncio.wait_for(line.closed.wait(), 10)
    assert line.close_code == 4012
    assert [event["ev"] for event in line.events] == ["drain"]
    await line.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_stop_goes_from_the_doors_to_the_stores(begin, monkeypatch):
    process = await begin("worker")
    order = []

    def listen(owner, name, said):
        real = getattr(owner, name)

        def run(*given, **named):
            order.append(said)
            return real(*given, **named)

        monkeypatch.setattr(owner, name, run)

    listen(process._server, "stop", "doors")
    listen(process.hospital.hub, "drain", "sockets")
    listen(serving.tasks, "stop", "loops")
    listen(process._server, "close_all_connections", "connections")
    listen(process.hospital, "close", "stores")
    begin.begun.clear()
    await process.stop()
    first = [order.index(said) for said in ("doors", "sockets", "loops", "connections", "stores")]
    assert first == sorted(first)


@pytest.mark.gen_test(timeout=60)
async def test_what_runs_by_the_clock_goes_on_after_a_failure(hospital):
    ran = asyncio.Event()
    tries = []

    async def fail_first(ctx):
        tries.append(ctx)
        if len(tries) == 1:
            raise LookupError("a bug")
        if len(tries) == 2:
            raise Unavailable("a store or an outside system")
        ran.set()

    looping = tasks.spawn("test.repeat", serving._repeat(0.01, fail_first, hospital.ctx))
    await asyncio.wait_for(ran.wait(), 10)
    await tasks.stop(looping)
    assert len(tries) == 3
