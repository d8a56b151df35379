"""The hourly look: every call has its recording, every file its call."""

from datetime import timedelta

import pytest

from rtc import metrics, parts, reconciling, service
from tests.rtc.samples import sound
from tests.rtc.stored import ROOM, keep_room, write_segment

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture(autouse=True)
def empty(ctx, io_loop):
    """No call of another test is looked at, and no file of one."""

    async def clear():
        await ctx.store.db["calls"].delete_many({})
        await ctx.store.db["files.files"].delete_many({})

    io_loop.run_sync(clear)


async def talked(calling, case, tmp_path, *names):
    """A call that ended an hour ago, in which the two talked."""
    ctx = calling.ctx
    call = await calling.ringing(case)
    await service.end(ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await calling.cards(case)
    if names:
        segments = [write_segment(tmp_path, name, sound(0.0, 25), ctx.clock.now()) for name in names]
        await keep_room(ctx, call["_id"], tmp_path, segments)
    await set_back(calling, call["_id"], timedelta(hours=1))
    return call["_id"]


async def set_back(calling, call_id, ago):
    """Let the call, and the files of all, be so old."""
    past = calling.ctx.clock.now() - ago
    values = {"started_at": past, "ended_at": past}
    await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": values})
    await calling.ctx.store.db["files.files"].update_many({}, {"$set": {"uploadDate": past}})


async def marked(calling, call_id):
    return (await calling.stored(call_id))["recording_faults"]


def counted():
    return (metrics.RECORDINGS_FAULTY._value.get(), metrics.FILES_ORPHANED._value.get())


@pytest.mark.rule("R5-2")
async def test_a_call_whose_recording_is_whole_is_well_and_its_film_is_ordered(calling, case, tmp_path):
    call_id = await talked(calling, case, tmp_path, "doctor-1-1.webm")
    await reconciling.reconcile(calling.ctx)
    assert (await marked(calling, call_id), counted()) == ([], (0, 0))
    assert (await calling.stored(call_id))["film"]["next_at"] is not None


@pytest.mark.rule("R5-2")
async def test_a_call_without_a_recording_is_marked_and_counted_until_it_has_one(calling, case, tmp_path):
    call_id = await talked(calling, case, tmp_path)
    await reconciling.reconcile(calling.ctx)
    assert (await marked(calling, call_id), counted()) == (["nothing_recorded"], (1, 0))
    segment = write_segment(tmp_path, "doctor-1-1.webm", sound(0.0, 25), calling.ctx.clock.now())
    await keep_room(calling.ctx, call_id, tmp_path, [segment])
    await reconciling.reconcile(calling.ctx)
    assert (await marked(calling, call_id), counted()) == ([], (0, 0))


async def test_a_room_that_never_came_is_missed_and_a_film_is_made_of_the_rest(calling, case, tmp_path):
    call_id = await talked(calling, case, tmp_path, "doctor-1-1.webm")
    await calling.ctx.calls.expect_recording(call_id, "f" * 16, process="gone", at=calling.ctx.clock.now())
    await reconciling.reconcile(calling.ctx)
    assert (await marked(calling, call_id), counted()) == (["uncollected"], (1, 0))
    assert (await calling.stored(call_id))["film"]["next_at"] is not None


async def test_a_file_that_is_gone_or_shorter_is_missed(calling, case, tmp_path):
    for change in ("delete", "shorten"):
        call_id = await talked(calling, case, tmp_path, "doctor-1-1.webm")
        file_id = parts.file_of(call_id, ROOM, "doctor-1-1.webm")
        if change == "delete":
            await calling.ctx.files.delete(file_id)
        else:
            await calling.ctx.store.db["files.files"].update_one({"_id": file_id}, {"$set": {"length": 1}})
        await reconciling.reconcile(calling.ctx)
        assert await marked(calling, call_id) == ["file_missing"]
    assert counted() == (2, 0)


async def test_a_call_that_has_just_ended_is_left_in_peace(calling, case, tmp_path):
    call_id = await talked(calling, case, tmp_path)
    await set_back(calling, call_id, timedelta(minutes=1))
    await reconciling.reconcile(calling.ctx)
    assert (await marked(calling, call_id), counted()) == ([], (0, 0))


async def test_files_of_no_call_are_counted_and_stay(calling, case, tmp_path):
    call_id = await talked(calling, case, tmp_path, "doctor-1-1.webm")
    path = tmp_path / "doctor-1-1.webm"
    strays = [
        parts.file_of("01J0000000000000000000000A", ROOM, "doctor-1-1.webm"),
        parts.file_of(call_id, ROOM, "doctor-9-1.webm"),
    ]
    for stray in strays:
        await calling.ctx.files.put(stray, path, at=calling.ctx.clock.now())
    await calling.ctx.files.put("another-kind", path, at=calling.ctx.clock.now())
    await reconciling.reconcile(calling.ctx)
    assert counted() == (0, 0)  # they may have been stored this minute
    await set_back(calling, call_id, timedelta(hours=1))
    await reconciling.reconcile(calling.ctx)
    assert counted() == (0, 2)
    assert len(await calling.ctx.files.sizes(strays)) == 2
