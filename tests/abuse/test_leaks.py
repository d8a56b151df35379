"""Thousands of abusive inputs leave a process as they found it: files open, tasks, threads, objects, memory, the store.

`ABUSE_INPUTS` says how many there are (in the suite a few hundred, in `scripts/soak/abuse` ten thousand), a quarter of
each kind; `ABUSE_FIGURES` names a file to write what was measured to.
"""

import asyncio
import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from core import tasks
from scripts.acting import until
from scripts.soak.abuse import FIGURES, INPUTS
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.abuse.test_notification_fuzz import EXPECTED_ERRORS, Unpaid, opened_order, spoiled_body
from tests.abuse.test_socket_fuzz import Chat, encoded, opened_chat, requests
from tests.abuse.test_tus_fuzz import CHANGES, STEPS, Abuser
from tests.abuse.test_upload_fuzz import ANY_FILE, MIMES, SAMPLES
from tests.people import new_phone

KINDS = 4
# Inputs of a kind between two looks, at most; each batch has its own people, so that nobody's limit is reached.
BATCH = 50
SUITE = 120
# Pools (of connections, of driver threads) grow to their size with the first busy moment, not by one an input.
POOLED = 24
# What a single leak of one object, descriptor, task or thread an input would exceed by far.
OBJECTS_AN_INPUT = 1.0
BYTES_AN_INPUT = 4096


def measured() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(tasks.running()),
        "objects": len(gc.get_objects()),
        "memory": pages * os.sysconf("SC_PAGESIZE"),
    }


class Abuse:
    """All four kinds of input, `size` of each a batch."""

    def __init__(self, io_loop: Any, hospital: Any, talk: Chat, order: Unpaid, size: int) -> None:
        self._loop, self._hospital, self._chat, self._unpaid = io_loop, hospital, talk, order
        self._size = size
        self.sent = 0
        self.owners: list[str] = []

    def batch(self, number: int) -> None:
        """Inputs of every kind, other ones for each number."""
        person = self._run(lambda: self._hospital.person().login_by_wechat(self._hospital.outside, new_phone()))
        self.owners.append(person.account["id"])
        abuser = Abuser(person)
        with listening() as heard:
            self._give(number, st.tuples(ANY_FILE, MIMES), lambda said: self._upload(person, *said))
            files = st.sampled_from(SAMPLES) | ANY_FILE
            self._give(number, st.tuples(files, st.just({}) | CHANGES, STEPS), lambda said: abuser.run(*said))
            self._give(number, requests(self._chat), lambda said: self._chat.send(encoded(said)))
            self._give(number, st.data(), self._notify)
        assert [line for line in heard.errors if json.loads(line)["event"] not in EXPECTED_ERRORS] == []

    def _give(self, number: int, inputs: st.SearchStrategy[Any], send: Callable[[Any], Any]) -> None:
        @seed(number)
        @settings(QUICKLY, derandomize=False, max_examples=self._size)
        @given(said=inputs)
        def one(said: Any) -> None:
            self.sent += 1
            self._run(lambda: send(said))

        one()

    def _run(self, work: Callable[[], Any]) -> Any:
        return self._loop.run_sync(work, timeout=30)

    async def _upload(self, person: Any, content: bytes, mime: str) -> None:
        answer = await person.send("POST", "/media", content=content, headers={"Content-Type": mime})
        assert answer.status_code in (201, 413, 415, 422)

    async def _notify(self, data: st.DataObject) -> None:
        body = self._unpaid.body(self._unpaid.content())
        answer = await self._unpaid.send("wechat-pay", self._unpaid.signed(body), spoiled_body(body, data))
        assert answer.status_code in (400, 401)


async def orphans_of(db: Any, owners: list[str]) -> dict[str, int]:
    """What these people's uploads have left in the store that belongs to no finished medium."""
    orphans = {"media": 0, "pieces": 0}
    for owner in owners:
        media = await db["media"].find({"owner": owner}).to_list(None)
        orphans["media"] += sum(medium["status"] != "ready" for medium in media)
        for upload in await db["uploads"].find({"owner": owner}).to_list(None):
            pieces = await db["upload_pieces"].find({"upload": upload["_id"]}, {"_id": 1}).to_list(None)
            orphans["pieces"] += len(pieces)
    return orphans


async def unowned(db: Any) -> int:
    """Files of the whole store that no medium has, and raw ones: the difference is taken over a run."""
    media = {one["_id"] for one in await db["media"].find({}, {"_id": 1}).to_list(None)}
    files = {one["_id"] for one in await db["files.files"].find({}, {"_id": 1}).to_list(None)}
    chunks = {one["files_id"] for one in await db["files.chunks"].find({}, {"files_id": 1}).to_list(None)}
    return len([one for one in files | chunks if one.partition(".")[0] not in media or one.endswith(".raw")])


@pytest.fixture
def chat(io_loop, store, redis_url) -> Iterator[Chat]:
    yield from opened_chat(io_loop, store, redis_url)


@pytest.fixture
def unpaid(io_loop, hospital) -> Unpaid:
    return opened_order(io_loop, hospital)


@pytest.mark.timeout(3600)
def test_thousands_of_abusive_inputs_leave_nothing_behind(io_loop, hospital, chat, unpaid):
    inputs = int(os.environ.get(INPUTS, SUITE))
    size = min(BATCH, max(1, inputs // (3 * KINDS)))
    rounds = inputs // (KINDS * size)
    abuse = Abuse(io_loop, hospital, chat, unpaid, size)
    db = hospital.ctx.store.db
    before = io_loop.run_sync(lambda: unowned(db), timeout=60)
    warm = max(1, rounds // 5)
    looks = []
    for number in range(rounds + warm):
        abuse.batch(number)
        if number >= warm - 1:
            io_loop.run_sync(lambda: until(is_quiet), timeout=20)
            looks.append(measured())
    first, last = looks[0], looks[-1]
    count = KINDS * size * rounds
    grown = {name: last[name] - first[name] for name in first}
    orphans = io_loop.run_sync(lambda: orphans_of(db, abuse.owners), timeout=120)
    orphans["files"] = io_loop.run_sync(lambda: unowned(db), timeout=120) - before
    write_figures(abuse.sent, count, grown, orphans)
    assert orphans == dict.fromkeys(orphans, 0)
    assert {name: grown[name] for name in ("descriptors", "threads", "tasks") if grown[name] > POOLED} == {}
    if count >= 2_000:  # fewer inputs than the noise of what is cached and pooled
        assert grown["objects"] <= OBJECTS_AN_INPUT * count
        assert grown["memory"] <= BYTES_AN_INPUT * count


async def is_quiet() -> bool:
    """Nothing that an input began is still running."""
    await asyncio.sleep(0)
    return not {name for name in tasks.running() if name.startswith(("upload.", "media."))}


def write_figures(sent: int, count: int, grown: dict[str, int], orphans: dict[str, int]) -> None:
    """For whoever runs this for its figures: growth after warm-up, in all and by input."""
    if FIGURES in os.environ:
        by_input = {name: round(grown[name] / count, 3) for name in grown}
        figures = {"sent": sent, "measured": count, "grown": grown, "by_input": by_input, "orphans": orphans}
        Path(os.environ[FIGURES]).write_text(json.dumps(figures), encoding="utf-8")
