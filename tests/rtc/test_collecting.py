"""From the folder to the store and into the call, killed between any two steps."""

import asyncio
import hashlib
import os
import time
from datetime import UTC, datetime

import pytest

from rtc import manifests, metrics, parts, service
from rtc.collecting import Collector
from rtc.manifests import Draft
from rtc.media import Manifest
from rtc.recordings import Recordings
from rtc.threads import Threads
from storage.mongo import ConnectionFailure
from tests.rtc.calling import until
from tests.rtc.samples import sound
from tests.rtc.stored import write_segment
from tests.rtc.test_recordings import killed_after
from tests.storage.test_calls import a_call

pytestmark = pytest.mark.gen_test(timeout=30)


LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """As if the process were no more."""


@pytest.fixture
def recordings(tmp_path, threads):
    return Recordings(tmp_path / "recordings", threads)


@pytest.fixture
def collector(ctx, recordings):
    return Collector(ctx, recordings)


async def an_ended_call(calling, case):
    call = await calling.ringing(case)
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    return ended["_id"]


async def recorded(recordings, call_id, *names, finish=True):
    """A folder with real segments, closed as its room closes it."""
    recording = await recordings.open(call_id)
    segments = [write_segment(recording.folder, name, sound(0.0, 25), recording.instant(0.0)) for name in names]
    manifests.save(recording.folder, Draft(Manifest(call_id, recording.instant(0.0), tuple(segments), ())))
    if finish:
        await recording.finish()
    return recording.folder, segments


async def part_of(calling, call_id):
    (part,) = (await calling.stored(call_id))["recordings"].values()
    return part


@pytest.mark.rule("R5-2")
async def test_a_finished_recording_comes_into_the_store_and_into_its_call(calling, case, recordings, collector):
    call_id = await an_ended_call(calling, case)
    folder, segments = await recorded(recordings, call_id, "doctor-1-1.webm", "patient-1-1.webm")
    room = folder.name.partition(".")[2]
    data = {one.name: (folder / one.name).read_bytes() for one in segments}
    await collector.collect()
    assert await recordings.left_behind() == []
    assert not folder.exists()
    call = await calling.stored(call_id)
    part = call["recordings"][room]
    assert [(one["name"], one["sha256"], one["size"]) for one in part["segments"]] == [
        (name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in data.items()
    ]
    for name, content in data.items():
        assert await calling.ctx.files.read(parts.file_of(call_id, room, name)) == content
    stored = await calling.ctx.store.db["files.files"].find_one(
        {"_id": parts.file_of(call_id, room, "doctor-1-1.webm")}
    )
    assert (
        stored["metadata"]["retain_until"].year == calling.ctx.clock.now().year + calling.ctx.policy.retain_call_years
    )
    assert parts.is_collected(call)
    assert call["film"]["file"] is None and call["film"]["next_at"] is not None  # noqa: PT018 -- ordered, not made


@pytest.mark.parametrize("step", range(7))
async def test_a_kill_between_any_two_steps_loses_nothing_and_doubles_nothing(
    calling, case, recordings, collector, monkeypatch, step
):
    call_id = await an_ended_call(calling, case)
    folder, segments = await recorded(recordings, call_id, "doctor-1-1.webm", "patient-1-1.webm")
    count = 0

    def dying(target, name):
        real = getattr(target, name)

        async def run(*given, **named):
            nonlocal count
            count += 1
            if count > step:
                raise Killed
            return await real(*given, **named)

        monkeypatch.setattr(target, name, run)

    for target, name in (
        (calling.ctx.calls, "expect_recording"),
        (calling.ctx.files, "put"),
        (calling.ctx.calls, "keep_recording"),
        (calling.ctx.calls, "order_film"),
    ):
        dying(target, name)
    if step < 6:
        with pytest.raises(Killed):
            await collector.collect()
    monkeypatch.undo()
    await collector.collect()
    if folder.exists():  # a folder emptied by the killed one, which could be one in the making
        os.utime(folder, (time.time() - 61,) * 2)
        await collector.collect()
    assert not folder.exists()
    part = await part_of(calling, call_id)
    assert [one["name"] for one in part["segments"]] == [one.name for one in segments]
    assert part["collected_at"] is not None
    files = [file async for batch in calling.ctx.files.names(f"recording:{call_id}", until=LATER) for file in batch]
    assert len(files) == 3


async def test_rooms_of_two_processes_are_parts_of_one_recording(calling, case, recordings, collector):
    call_id = await an_ended_call(calling, case)
    await recorded(recordings, call_id, "doctor-1-1.webm")
    await recorded(recordings, call_id, "doctor-2-1.webm")
    other_threads = Threads()
    other = Collector(calling.ctx, Recordings(recordings._root, other_threads))
    await asyncio.gather(collector.collect(), other.collect())  # two processes look at once
    await collector.collect()
    other_threads.close()
    call = await calling.stored(call_id)
    assert sorted(one["name"] for _, one in parts.segments(call)) == ["doctor-1-1.webm", "doctor-2-1.webm"]
    assert len(call["recordings"]) == 2


async def test_a_room_that_is_still_open_keeps_the_recording_from_being_whole(calling, case, recordings, collector):
    call_id = await an_ended_call(calling, case)
    await calling.ctx.calls.expect_recording(call_id, "f" * 16, process="gone", at=calling.ctx.clock.now())
    await recorded(recordings, call_id, "doctor-1-1.webm")
    folder, _ = await recorded(recordings, call_id, "doctor-1-1.webm", finish=False)
    await collector.collect()
    call = await calling.stored(call_id)
    assert (parts.is_collected(call), call["film"], folder.exists()) == (False, None, True)


@pytest.mark.rule("R5-2")
async def test_what_a_process_that_was_killed_had_written_comes_into_the_store(
    calling, recordings, collector, tmp_path
):
    over = {"status": "ended", "deadline_at": None, "started_at": None}
    over |= {"live_visit": None, "live_doctor": None, "live_patient": None}
    await calling.ctx.calls.add({**a_call("call"), **over})
    await killed_after(tmp_path / "recordings", 2.5)
    await collector.collect()
    ((room, part),) = (await calling.stored("call"))["recordings"].items()
    (segment,) = part["segments"]
    stored = await calling.ctx.files.read(parts.file_of("call", room, segment["name"]))
    await calling.ctx.store.db["calls"].delete_one({"_id": "call"})
    assert (segment["side"], segment["generation"], segment["duration"] > 0.5) == ("doctor", 3, True)
    assert (segment["size"], segment["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())


async def test_while_the_store_is_away_all_stays_and_it_is_tried_again(
    calling, case, recordings, collector, monkeypatch
):
    call_id = await an_ended_call(calling, case)
    folder, _ = await recorded(recordings, call_id, "doctor-1-1.webm")

    async def away(*given, **named):
        raise ConnectionFailure("away")

    with monkeypatch.context() as broken:
        broken.setattr(calling.ctx.files, "put", away)
        with pytest.raises(ConnectionFailure):
            await collector.collect()
    assert (folder / "doctor-1-1.webm").exists()
    await collector.collect()
    assert not folder.exists()


async def test_folders_of_no_call_and_without_a_manifest_stay_and_are_counted(
    calling, case, recordings, collector, tmp_path
):
    stranger, _ = await recorded(recordings, "01J0000000000000000000000A", "doctor-1-1.webm")
    call_id = await an_ended_call(calling, case)
    bare, _ = await recorded(recordings, call_id, "doctor-1-1.webm")
    (bare / "manifest.json").unlink()
    (tmp_path / "recordings" / "unnamed").mkdir()
    (tmp_path / "recordings" / "unnamed" / "x.webm").write_bytes(b"x")
    await collector.collect()
    assert metrics.FOLDERS_ORPHANED._value.get() == 3
    assert stranger.exists() and bare.exists()  # noqa: PT018 -- both
    assert (await calling.stored(call_id))["recordings"] == {}


async def test_what_cannot_be_played_is_kept_and_named(calling, case, recordings, collector):
    call_id = await an_ended_call(calling, case)
    folder, _ = await recorded(recordings, call_id, "doctor-1-1.webm")
    (folder / "patient-1-1.webm").write_bytes(b"rubbish")
    await collector.collect()
    part = await part_of(calling, call_id)
    assert ([one["name"] for one in part["segments"]], part["unreadable"]) == (
        ["doctor-1-1.webm"],
        ["patient-1-1.webm"],
    )


async def test_it_looks_at_the_start_when_woken_and_once_more_at_the_end(calling, case, recordings, collector):
    call_id = await an_ended_call(calling, case)
    first, _ = await recorded(recordings, call_id, "doctor-1-1.webm")
    await collector.start()
    await until(lambda: not first.exists())
    second, _ = await recorded(recordings, call_id, "doctor-2-1.webm")
    collector.wake()
    await until(lambda: not second.exists())
    third, _ = await recorded(recordings, call_id, "doctor-3-1.webm")
    await collector.stop()
    assert not third.exists()
    assert len((await calling.stored(call_id))["recordings"]) == 3
