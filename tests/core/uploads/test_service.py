"""What a process that dies, a sweep or a second writer leaves at every point; and cuts at random places."""

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import tasks
from core.errors import AppError, Conflict, NotFound, ServiceUnavailable
from core.media import intake
from core.media.rules import file_of
from core.media.workshop import Workshop
from core.uploads import jobs, service
from storage.pieces import PIECE_BYTES, PieceMissing
from tests.abuse.asking import QUICKLY
from tests.core.media import making
from tests.core.media.conftest import caller_of, until, with_policy
from tests.core.uploads.resuming import (
    NOTHING_LEFT,
    a_document,
    address,
    asked,
    cut,
    left_of_uploads,
    offset_of,
    patched,
)

OWNER = "owner"
MADE = NOTHING_LEFT | {"media": 1, "files.files": 1, "files.chunks": 1, "ready": 1}


class Died(BaseException):
    """A process that ends here."""


async def created(ctx, length: int) -> Any:
    return await service.create(ctx, owner=OWNER, length=length, metadata="")


async def own(ctx, upload) -> Any:
    return await service.require_own(ctx, upload_id=upload["_id"], owner=OWNER)


async def sent(ctx, upload, data: bytes) -> Any:
    """The upload after one PATCH of these bytes, where it ends now."""
    going_on = service.Continuation(ctx, await own(ctx, upload))
    await going_on.take(data)
    return await going_on.finish()


def dies(monkeypatch, owner: Any, method: str, *, after: bool = True) -> Any:
    """The process dies at this call, once it is done or before it has begun."""
    whole = getattr(owner, method)

    async def die(*args: Any, **more: Any) -> None:
        if after:
            await whole(*args, **more)
        raise Died

    patch = pytest.MonkeyPatch()
    patch.setattr(owner, method, die)
    return patch


async def dying(patch: pytest.MonkeyPatch, work: Any) -> None:
    try:
        with pytest.raises(Died):
            await work
    finally:
        patch.undo()


@pytest.mark.gen_test
async def test_a_piece_stored_by_a_process_that_then_died_is_counted(ctx, monkeypatch):
    data = a_document(6000)
    upload = await created(ctx, len(data))
    await sent(ctx, upload, data[:1000])
    await dying(dies(monkeypatch, type(ctx.uploads), "advance", after=False), sent(ctx, upload, data[1000:5000]))
    assert (await ctx.uploads.get(upload["_id"]))["offset"] == 1000
    assert (await own(ctx, upload))["offset"] == 5000
    assert (await sent(ctx, upload, data[5000:]))["status"] == "ready"
    assert await left_of_uploads(ctx) == MADE


@pytest.mark.parametrize(
    ("where", "method", "after"),
    [
        ("uploads", "advance", False),
        ("uploads", "advance", True),
        ("uploads", "receive", True),
        ("uploads", "claim", True),
        ("media", "add", True),
        ("files", "open_upload", True),
        ("media", "make_ready", False),
        ("media", "make_ready", True),
        ("uploads", "make_ready", False),
    ],
)
@pytest.mark.gen_test
async def test_a_whole_upload_whose_process_died_becomes_exactly_one_medium(ctx, monkeypatch, where, method, after):
    data = a_document(6000)
    upload = await created(ctx, len(data))
    # A process that dies tidies nothing up.
    monkeypatch.setattr(intake, "discard", _nothing)
    await dying(dies(monkeypatch, type(getattr(ctx, where)), method, after=after), sent(ctx, upload, data))
    monkeypatch.undo()
    assert (await own(ctx, upload))["offset"] == len(data)
    ctx.clock.step(service.CLAIM.total_seconds() + 5)
    assert await jobs.examine_received(ctx) == 1
    done = await own(ctx, upload)
    medium = await service.medium_of(ctx, done)
    assert (done["status"], medium["owner"], medium["sha256"]) == ("ready", OWNER, hashlib.sha256(data).hexdigest())
    assert await ctx.files.read(file_of(medium["_id"], "original")) == data
    assert await left_of_uploads(ctx) == MADE


async def _nothing(*_: Any) -> None:
    pass


@pytest.mark.gen_test
async def test_pieces_left_by_a_process_that_died_when_all_was_done_go_with_the_upload(ctx, monkeypatch):
    data = a_document(600)
    upload = await created(ctx, len(data))
    await dying(dies(monkeypatch, type(ctx.uploads), "make_ready"), sent(ctx, upload, data))
    assert (await own(ctx, upload))["status"] == "ready"
    assert (await left_of_uploads(ctx))["pieces"] == 1
    ctx.clock.step(2 * ctx.policy.media_orphan_seconds + 1)
    await jobs.collect_expired(ctx)
    assert await left_of_uploads(ctx) == {name: count for name, count in MADE.items() if name != "ready"}


@pytest.mark.gen_test
async def test_two_examiners_of_one_upload_make_one_medium(ctx):
    """One was paused for longer than it had claimed, and wakes up when the other is done."""
    data = a_document(6000)
    upload = await created(ctx, len(data))
    paused, woken = asyncio.Event(), asyncio.Event()
    make_ready = ctx.uploads.make_ready

    async def late(*args: Any) -> bool:
        if not paused.is_set():
            paused.set()
            await woken.wait()
        return await make_ready(*args)

    ctx.uploads.make_ready = late
    slow = tasks.spawn("slow", sent(ctx, upload, data))
    await paused.wait()
    with pytest.raises(Conflict) as refusal:
        await service.complete(ctx, upload)
    assert refusal.value.code == "in_progress"
    ctx.clock.step(service.CLAIM.total_seconds())
    fast = await service.complete(ctx, upload)
    woken.set()
    assert (await slow)["media_id"] == fast["media_id"]
    assert await left_of_uploads(ctx) == MADE


@pytest.mark.gen_test
async def test_an_examiner_that_was_overtaken_in_the_middle_spoils_nothing_and_leaves_nothing(ctx, monkeypatch):
    data = a_document(6000)
    upload = await created(ctx, len(data))
    paused, woken = asyncio.Event(), asyncio.Event()
    clean = intake.clean

    async def late(*args: Any) -> Any:
        if not paused.is_set():
            paused.set()
            await woken.wait()
            # Its pieces were read before it slept.
            await args[3].aclose()
            args = (*args[:3], _given(data))
        return await clean(*args)

    monkeypatch.setattr(intake, "clean", late)
    slow = tasks.spawn("slow", sent(ctx, upload, data))
    await paused.wait()
    ctx.clock.step(service.CLAIM.total_seconds())
    fast = await service.complete(ctx, upload)
    woken.set()
    assert (await slow)["media_id"] == fast["media_id"]
    assert await left_of_uploads(ctx) == MADE


async def _given(data: bytes) -> Any:
    yield data


@pytest.mark.gen_test
async def test_a_writer_that_was_ended_before_its_first_bytes_were_looked_at_is_told_so(ctx):
    upload = await created(ctx, 600_000)
    going_on = service.Continuation(ctx, await own(ctx, upload))
    advance = ctx.uploads.advance

    async def ended(*args: Any) -> bool:
        done = await advance(*args)
        await service.terminate(ctx, upload_id=upload["_id"], owner=OWNER)
        return done

    ctx.uploads.advance = ended
    await going_on.take(a_document(5000))
    with pytest.raises(AppError) as refusal:
        await going_on.finish()
    assert refusal.value.code == "gone"
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_a_writer_that_is_late_leaves_nothing(ctx):
    data = a_document(600_000)
    upload = await created(ctx, len(data))
    late = service.Continuation(ctx, await own(ctx, upload))
    await late.take(data[:1000])
    await service.terminate(ctx, upload_id=upload["_id"], owner=OWNER)
    with pytest.raises(AppError) as refusal:
        await late.finish()
    assert refusal.value.code == "gone"
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_a_writer_is_not_disturbed_by_somebody_who_saw_the_end_first(ctx):
    data = a_document(600)
    upload = await created(ctx, len(data))
    advance = ctx.uploads.advance

    async def seen_first(*args: Any) -> bool:
        ctx.uploads.advance = advance
        assert (await own(ctx, upload))["status"] == "received"
        return await advance(*args)

    ctx.uploads.advance = seen_first
    assert (await sent(ctx, upload, data))["status"] == "ready"
    assert await left_of_uploads(ctx) == MADE


@pytest.mark.gen_test
async def test_an_upload_ended_while_it_is_examined_leaves_nothing(ctx):
    upload = await created(ctx, 6000)
    clean = intake.clean

    async def ended(*args: Any) -> Any:
        await service.terminate(ctx, upload_id=upload["_id"], owner=OWNER)
        return await clean(*args)

    patch = pytest.MonkeyPatch()
    patch.setattr(intake, "clean", ended)
    with pytest.raises(AppError) as refusal:
        await sent(ctx, upload, a_document(6000))
    patch.undo()
    assert refusal.value.code == "gone"
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_pieces_that_the_store_lost_are_an_error_and_no_medium(ctx):
    upload = await created(ctx, 6000)
    await sent(ctx, upload, a_document(5000))
    whole = await own(ctx, upload)
    await ctx.store.db["uploads"].update_one({"_id": upload["_id"]}, {"$set": {"offset": 6000}})
    with pytest.raises(PieceMissing):
        await service.complete(ctx, whole)
    assert (await left_of_uploads(ctx))["media"] == 0


@pytest.mark.gen_test
async def test_a_full_workshop_keeps_the_upload_for_later(ctx):
    from dataclasses import replace

    full = Workshop(queue=0)
    await full.start()
    data = making.a_jpeg()
    upload = await created(ctx, len(data))
    with pytest.raises(ServiceUnavailable) as refusal:
        await sent(replace(ctx, workshop=full), upload, data)
    assert refusal.value.code == "overloaded"
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"pieces": 1, "received": 1}
    assert (await service.complete(ctx, upload))["status"] == "ready"


@pytest.mark.gen_test
async def test_strangers_find_nothing_and_end_nothing(ctx):
    upload = await created(ctx, 600)
    with pytest.raises(NotFound):
        await service.terminate(ctx, upload_id=upload["_id"], owner="stranger")
    assert (await own(ctx, upload))["status"] == "open"


@pytest.mark.gen_test
async def test_a_writer_holds_at_most_one_piece(ctx):
    data = a_document(1_000_000)
    upload = await created(ctx, len(data))
    going_on = service.Continuation(ctx, await own(ctx, upload))
    for start in range(0, len(data), 65_536):
        await going_on.take(data[start : start + 65_536])
        assert len(going_on._pending) < PIECE_BYTES
    assert (await going_on.finish())["status"] == "ready"


# --- cuts ------------------------------------------------------------------------------------------------------------

LENGTH = 700_000
CUTS = st.lists(
    st.tuples(st.integers(0, LENGTH), st.booleans(), st.integers(0, 1)),
    min_size=1,
    max_size=6,
)


@pytest.mark.feature("P1.3")
def test_an_upload_cut_anywhere_and_resumed_is_one_medium_with_the_very_bytes(io_loop, api_of, ctx):
    """Any number of connections lost anywhere, through either of two servers, and gone on with at once."""
    apis = [api_of(with_policy(ctx, uploads_per_hour=1000)) for _ in range(2)]
    owner = caller_of("patient")
    interrupted = []

    async def run(data: bytes, cuts: list[tuple[int, bool, int]]) -> None:
        where = await address(apis[0], owner, len(data))
        for after, chunked, server in cuts:
            offset = await offset_of(apis[1 - server], where, owner)
            if offset == len(data):
                break
            rest = data[offset:]
            await cut(apis[server], owner, where, offset, rest, min(after, len(rest) - 1), chunked=chunked)
            interrupted.append(offset)
        await finished(where, data)

    async def finished(where: str, data: bytes) -> None:
        async def is_whole() -> bool:
            offset = await offset_of(apis[0], where, owner)
            answer = await patched(apis[0], owner, where, offset, data[offset:])
            # A writer that was cut off may still be storing what came; then it goes on from there.
            assert answer.status_code in (204, 409), answer.content
            return "Upload-Medium" in answer.headers

        await until(is_whole, seconds=20)
        told = (await asked(apis[1], "GET", where, owner)).json()["medium"]
        served = (await apis[1].get(f"/media/{told['id']}", owner)).content
        assert served == data
        assert (told["size"], told["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())

    async def settled() -> bool:
        return "upload.keep" not in tasks.running()

    count = 0

    @settings(QUICKLY, max_examples=12)
    @given(cuts=CUTS, seed=st.binary(max_size=4))
    def upload(cuts: list[tuple[int, bool, int]], seed: bytes) -> None:
        nonlocal count
        count += 1
        io_loop.run_sync(lambda: run(a_document(LENGTH, seed), cuts), timeout=30)

    upload()
    io_loop.run_sync(lambda: until(settled), timeout=10)
    assert len(interrupted) > count
    chunks = -(-LENGTH // PIECE_BYTES)
    assert io_loop.run_sync(lambda: left_of_uploads(ctx)) == {
        "media": count,
        "files.files": count,
        "files.chunks": count * chunks,
        "pieces": 0,
        "ready": count,
    }
