"""One room's folder, time line and manifest."""

import os

import pytest

from rtc import manifests
from rtc.manifests import Unfinished
from rtc.media import Moment, Segment
from rtc.recording import Recording, lock_folder
from tests.im.house import until

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_time_begins_with_the_first_packet(recording):
    assert recording.offset(100.0) == 0.0
    assert recording.offset(102.5) == 2.5
    assert (recording.instant(2.5) - recording.instant(0.0)).total_seconds() == 2.5
    await recording.finish()


async def test_every_change_is_on_the_disk_soon(recording):
    recording.offset(100.0)
    recording.begin_segment(Unfinished("doctor", 1, "doctor-1-1.webm", recording.instant(0.0), 0.0))
    recording.note(Moment(1.0, "doctor", "joined", 1))
    await until(lambda: manifests.load(recording.folder).manifest.timeline)
    assert manifests.load(recording.folder) == recording.draft
    segment = Segment("doctor", 1, "doctor-1-1.webm", 1, recording.instant(0.0), 0.0, 1.0, "", "")
    recording.end_segment("doctor-1-1.webm", segment)
    manifest = await recording.finish()
    assert manifest.segments == (segment,)
    assert manifests.load(recording.folder) == manifests.Draft(manifest)


async def test_the_time_line_is_in_order(recording):
    for offset in (3.0, 1.0, 2.0):
        recording.note(Moment(offset, "doctor", "gap", 1))
    assert [moment.offset for moment in (await recording.finish()).timeline] == [1.0, 2.0, 3.0]


async def test_a_segment_of_which_nothing_came_is_not_in_the_manifest(recording):
    recording.begin_segment(Unfinished("doctor", 1, "doctor-1-1.webm", recording.instant(0.0), 0.0))
    recording.end_segment("doctor-1-1.webm", None)
    assert (await recording.finish()).segments == ()


async def test_nobody_else_gets_hold_of_the_folder_before_it_is_finished(recording):
    with pytest.raises(BlockingIOError):
        lock_folder(recording.folder)
    await recording.finish()
    os.close(lock_folder(recording.folder))


async def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path, threads):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        await Recording.open(tmp_path / "file" / "call.1", "call", threads)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileExistsError):
        await Recording.open(tmp_path, "call", threads)
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_a_manifest_that_could_not_be_saved_is_saved_with_the_next_change(recording, monkeypatch):
    def full(folder, draft):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifests, "save", full)
    recording.note(Moment(1.0, "doctor", "joined", 1))
    await until(lambda: recording._saving is None)
    monkeypatch.undo()
    recording.note(Moment(2.0, "doctor", "left", 1))
    await recording.finish()
    assert len(manifests.load(recording.folder).manifest.timeline) == 2
