"""What docs/architecture.md promises while a store or the worker is away, on stores that are really killed."""

import resource
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from app import serving
from core.jobs import DutyRunner
from core.media.jobs import collect_orphans
from im import journal as journals
from scripts.acting import Line, Person, Refused, until
from scripts.embedded import EmbeddedStores
from scripts.seed import load
from scripts.story import valid_id_number
from tests.core.consulting import open_house
from tests.core.media import making
from tests.hospital import TestHospital, open_test_hospital

WAIT_SECONDS = 20
# What a file of the server's may hold; the refused upload is twice as long, and meets the end in its middle.
DISK_BYTES = 3_000_000
PERSON = {
    "name": "演示家属",
    "id_type": "01",
    "id_number": valid_id_number(),
    "gender": "1",
    "birth_date": "1990-03-07",
    "phone": "19900098888",
    "relation": "self",
}


@dataclass
class Away:
    """A hospital of two processes on stores of its own, and two who may talk in one conversation."""

    stores: EmbeddedStores
    hospital: TestHospital
    other: serving.Process
    lines: list[dict[str, str]]

    @property
    def conversation(self) -> str:
        return self.lines[0]["conversation"]

    @property
    def buses(self) -> list[Any]:
        return [self.hospital.ctx.bus, self.other.ctx.bus]

    def person(self, place: int, process: serving.Process) -> Person:
        """The patient (0) or the doctor (1), at one of the processes."""
        person = Person(self.hospital.http, f"http://127.0.0.1:{process.port}")
        person.token = self.lines[place]["token"]
        return person

    @property
    def patient(self) -> Person:
        return self.person(0, self.hospital.process)

    async def talking(self) -> tuple[Line, Line]:
        """Patient and doctor, each at another process, both caught up."""
        here, there = self.patient, self.person(1, self.other)
        return await here.connect("phone"), await there.connect("desk")

    async def stored(self) -> list[tuple[int, str]]:
        """Number and the client's own id of every message."""
        found = await self.hospital.ctx.messages.between(self.conversation, 0, 1_000)
        return [(one["seq"], one["_id"].rpartition("/")[2]) for one in found]

    async def all_up(self) -> None:
        """Until both processes are ready again."""

        async def are_ready() -> bool:
            ports = self.hospital.process.port, self.other.port
            asked = [await self.hospital.http.get(f"http://127.0.0.1:{port}/readyz") for port in ports]
            return all(answer.status_code == 200 for answer in asked)

        await until(are_ready, seconds=WAIT_SECONDS)


@pytest.fixture(scope="module")
def away(io_loop, tmp_path_factory):
    stack = AsyncExitStack()

    async def begin():
        folder = tmp_path_factory.mktemp("away")
        stores = EmbeddedStores.under(folder)
        await stores.start()
        stack.push_async_callback(stores.stop)
        hasty = f"{stores.mongo.uri}&serverSelectionTimeoutMS=500"
        opened = open_test_hospital(hasty, stores.redis.url, "away", folder)
        hospital = await stack.enter_async_context(opened)
        other = await serving.start(replace(hospital.settings, listen_port=0), "im")
        stack.push_async_callback(other.stop)
        return Away(stores, hospital, other, await load(hospital.ctx, patients=1, doctors=1))

    yield io_loop.run_sync(begin, timeout=60)
    io_loop.run_sync(stack.aclose, timeout=60)


def refused(answer) -> tuple[int, str, bool]:
    """Status, code, and whether it says when to come again."""
    return answer.status_code, answer.json()["code"], int(answer.headers["Retry-After"]) >= 1


UNAVAILABLE = (503, "unavailable", True)


async def seq_after(away: Away) -> int:
    return len(await away.stored()) + 1


@pytest.mark.gen_test(timeout=90)
async def test_with_redis_away_codes_and_limits_refuse_and_the_chat_goes_on(away):
    here, there = await away.talking()
    tablet = await away.patient.connect("tablet")
    await here.say(away.conversation, "之前", id="before")
    await there.next_event("message.created")
    await tablet.next_event("message.created")
    seq = await seq_after(away)

    await away.stores.redis.kill()
    send = away.patient.send
    phone = "19970001111"
    code = await send("POST", "/auth/sms-codes", json={"phone": phone, "purpose": "login"})
    login = {"audience": "staff", "method": "password", "account": "nobody", "password": "nothing-at-all"}
    login_refused = refused(await send("POST", "/auth/login", json=login))
    upload = await send("POST", "/media", content=making.PDF, headers={"Content-Type": "application/pdf"})
    assert (refused(code), login_refused, refused(upload)) == (UNAVAILABLE,) * 3
    sent = await away.hospital.http.get(f"{away.hospital.outside.sms}/_control/sms", params={"phone": phone})
    assert sent.status_code == 404
    assert await away.hospital.ctx.store.db["media"].find_one({"owner": away.lines[0]["account"]}) is None

    ack = await here.say(away.conversation, "期间", id="meanwhile")
    told = await tablet.next_event("message.created")
    assert (ack["seq"], told["seq"], told["body"]) == (seq, seq, {"text": "期间"})
    page = (await there.request("sync", cursors={away.conversation: seq - 1}, limit=10))["conversations"][0]
    assert [message["body"] for message in page["messages"]] == [{"text": "期间"}]
    assert not [event for event in there.events if event["ev"] == "message.created"]

    await away.stores.redis.start()
    await away.all_up()
    await here.say(away.conversation, "之后", id="after")
    assert (await there.next_event("message.created"))["seq"] == seq + 1
    assert (await send("POST", "/auth/sms-codes", json={"phone": phone, "purpose": "login"})).status_code == 202
    for line in (here, there, tablet):
        await line.close()


@pytest.mark.gen_test(timeout=90)
async def test_with_the_database_away_nothing_is_acknowledged_and_a_repeat_is_stored_once(away, monkeypatch):
    here, there = await away.talking()
    await here.say(away.conversation, "之前", id="database-before")
    await there.next_event("message.created")
    before = await away.stored()
    monkeypatch.setattr(journals, "PATIENCE_SECONDS", 0.5)

    await away.stores.mongo.kill()
    writing = await away.patient.send("POST", "/patients", json=PERSON)
    assert refused(writing) == UNAVAILABLE
    for _ in range(2):
        with pytest.raises(Refused, match="unavailable") as refusal:
            await here.say(away.conversation, "期间", id="database-meanwhile")
        assert refusal.value.body["retry_after_ms"] > 0
    for line in (here, there):
        assert list(await line.request("ping")) == ["server_time"]
    ready = await away.hospital.http.get(f"{away.hospital.url}/readyz")
    assert refused(ready) == UNAVAILABLE

    await away.stores.mongo.start()
    await away.all_up()
    assert await away.stored() == before
    assert await away.hospital.ctx.store.db["patients"].find_one({}) is None
    monkeypatch.undo()
    acks = [await here.say(away.conversation, "期间", id="database-meanwhile") for _ in range(2)]
    assert [(ack["seq"], ack["dup"]) for ack in acks] == [(len(before) + 1, False), (len(before) + 1, True)]
    assert (await there.next_event("message.created", seq=len(before) + 1))["body"] == {"text": "期间"}
    assert await away.stored() == [*before, (len(before) + 1, "database-meanwhile")]
    for line in (here, there):
        await line.close()


@pytest.mark.gen_test(timeout=90)
async def test_a_full_disk_refuses_uploads_and_leaves_nothing_that_a_medium_names(away, monkeypatch):
    """The kernel refuses the server's writes (RLIMIT_FSIZE), which it meets as it meets a disk without space."""
    ctx = away.hospital.ctx
    kept = await away.patient.upload(making.PDF, "application/pdf")
    mongo = away.stores.mongo
    _, hard = resource.prlimit(mongo.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(mongo.pid, resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    large = making.PDF + secrets.token_bytes(2 * DISK_BYTES)
    headers = {"Content-Type": "application/pdf"}
    answer = await away.patient.send("POST", "/media", content=large, headers=headers)
    assert refused(answer) == UNAVAILABLE
    assert refused(await away.hospital.http.get(f"{away.hospital.url}/readyz")) == UNAVAILABLE

    await mongo.kill()  # as its supervisor ends one that stores nothing; there is space again
    await mongo.start()
    await away.all_up()
    media = await ctx.store.db["media"].find({}).to_list(None)
    assert sorted(medium["status"] for medium in media) == ["ready", "uploading"]
    assert (await away.patient.send("GET", f"/media/{kept['id']}")).content == making.PDF
    again = await away.patient.upload(large, "application/pdf")
    # What the refused one left has no owner who could name it, and the sweep finds it.
    later = ctx.clock.now() + timedelta(seconds=2 * ctx.policy.media_orphan_seconds + 60)
    monkeypatch.setattr(ctx.clock, "now", lambda: later)
    for _ in range(2):
        await collect_orphans(ctx)
    for collection, field in (("files.chunks", "files_id"), ("files.files", "_id"), ("media", "_id")):
        left = await ctx.store.db[collection].distinct(field)
        assert sorted(left) == sorted([kept["id"], again["id"]])


@pytest.fixture
def unworked(io_loop, away, tmp_path):
    """A hospital without a worker, on the same stores."""
    opened = open_house(away.stores.mongo.uri, away.stores.redis.url, tmp_path, "unworked")
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.mark.gen_test(timeout=90)
async def test_while_no_worker_runs_duties_and_deadlines_wait_and_are_then_done_once(unworked, monkeypatch):
    unpaid, ended = await unworked.submitted(), await unworked.in_progress()

    async def died_before(*_):
        """A process that ends right after its move has run nothing of what the move owes."""

    monkeypatch.setattr(DutyRunner, "run_now", died_before)
    await ended.act(ended.doctor, "complete")
    monkeypatch.undo()
    past = unworked.ctx.clock.now() - timedelta(minutes=10)
    for name, id_ in (("visits", unpaid.id), ("orders", unpaid.order_id)):
        await unworked.ctx.store.db[name].update_one({"_id": id_}, {"$set": {"deadline_at": past}})
    said = await ended.said()
    assert (await unpaid.standing(), len((await ended.visit())["duties"]) > 0) == (("pending_payment", "pending"), True)

    workers = [await serving.start(replace(unworked.settings, listen_port=0), "worker") for _ in range(2)]

    async def all_done() -> bool:
        documents = [await unpaid.visit(), await unpaid.order(), await ended.visit()]
        return [one["status"] for one in documents] == ["expired", "closed", "completed"] and not any(
            one["duties"] for one in documents
        )

    try:
        await until(all_done, seconds=30)
    finally:
        for worker in workers:
            await worker.stop()
    for document, act in ((await unpaid.visit(), "expire"), (await ended.visit(), "complete")):
        assert [entry["act"] for entry in document["history"]].count(act) == 1
    added = (await ended.said())[len(said) :]
    assert [one.get("event", one.get("card")) for one in added] == ["visit.complete", "rating_request"]
