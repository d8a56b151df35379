"""A leg's recorder."""

import asyncio
import os

import pytest

from rtc import recorder as recorders
from rtc.digests import digest
from rtc.recorder import Recorder
from rtc.segments import SegmentFile
from tests.im.house import until
from tests.rtc.clips import FRAMES_A_SECOND, pictures, sounds
from tests.rtc.samples import times

pytestmark = pytest.mark.gen_test(timeout=30)


class Told:
    """What a recorder tells its room."""

    def __init__(self):
        self.armed, self.failed, self.wanted = 0, [], 0

    def begin(self, recording, kinds=("audio", "video"), generation=1):
        return Recorder(
            recording,
            "doctor",
            generation,
            kinds,
            armed=self._arm,
            failed=self.failed.append,
            want_key_frame=self._want,
        )

    def _arm(self):
        self.armed += 1

    def _want(self):
        self.wanted += 1


@pytest.fixture
def told():
    return Told()


def hear(recorder, begin, count, ticks=0):
    """So many packets of sound from a moment on."""
    for place in range(count):
        at = begin + place / 50
        recorder.put("audio", "opus", 48_000, ticks + 960 * place, sounds()[place], True, at)


def see(recorder, begin, count, codec="vp8", first=0):
    """So many pictures from a moment on; every fifth of the clip is a key frame."""
    for place in range(first, first + count):
        at = begin + (place - first) / FRAMES_A_SECOND
        recorder.put("video", codec, 90_000, 3600 * (place - first), pictures(codec)[place], place % 5 == 0, at)


async def test_a_leg_becomes_a_segment_with_its_digests(recording, told):
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    assert told.armed == 1
    hear(recorder, 100.0, 50)
    see(recorder, 100.2, 20)
    recorder.flush(100.5)
    hear(recorder, 101.0, 50, 48_000)
    await recorder.close()
    manifest = await recording.finish()
    [segment] = manifest.segments
    path = recording.folder / "doctor-1-1.webm"
    found = digest(path)
    assert (segment.side, segment.generation, segment.name) == ("doctor", 1, "doctor-1-1.webm")
    assert (segment.size, segment.sha256, segment.sm3) == (found.size, found.sha256, found.sm3)
    assert (segment.offset, segment.duration) == (0.0, pytest.approx(1.98, abs=0.01))
    assert len(times(path, "audio")) == 100
    assert times(path, "video")[0] == pytest.approx(0.2, abs=0.002)


async def test_who_comes_late_is_late_in_the_recording(recording, told):
    recording.offset(100.0)
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    hear(recorder, 104.5, 10)
    await recorder.close()
    [segment] = (await recording.finish()).segments
    assert segment.offset == 4.5
    assert (segment.started_at - recording.instant(0.0)).total_seconds() == 4.5


async def test_a_camera_that_is_switched_on_later_begins_another_segment(recording, told):
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    hear(recorder, 100.0, 60)
    recorder.flush(100.4)
    assert recorder.is_armed
    recorder.flush(101.2)  # nobody waits for a picture for ever
    see(recorder, 101.3, 1, first=1)
    assert told.wanted == 0  # the open segment has no place for it, and it is no key frame
    see(recorder, 101.3, 10)
    hear(recorder, 101.3, 10, 62_400)
    await until(lambda: recorder.is_armed)
    await recorder.close()
    first, second = (await recording.finish()).segments
    assert (first.name, second.name) == ("doctor-1-1.webm", "doctor-1-2.webm")
    assert times(recording.folder / first.name, "video") == []
    assert len(times(recording.folder / second.name, "video")) == 10
    assert second.offset == pytest.approx(1.3, abs=0.001)


async def test_another_codec_begins_another_segment_in_its_own_container(recording, told):
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    hear(recorder, 100.0, 10)
    see(recorder, 100.0, 10)
    recorder.flush(100.2)
    see(recorder, 101.0, 10, "h264")
    await until(lambda: recorder.is_armed)
    await recorder.close()
    assert [one.name for one in (await recording.finish()).segments] == ["doctor-1-1.webm", "doctor-1-2.mkv"]


async def test_pictures_begin_with_a_key_frame_that_is_asked_for(recording, told):
    recorder = told.begin(recording, {"video"})
    await until(lambda: recorder.is_armed)
    see(recorder, 100.0, 2, first=3)
    assert told.wanted == 2
    see(recorder, 100.1, 5)
    await recorder.close()
    [segment] = (await recording.finish()).segments
    assert len(times(recording.folder / segment.name, "video")) == 5


async def test_a_failure_is_told_and_recording_goes_on_in_a_new_segment(recording, told, monkeypatch):
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.01)
    recorder = told.begin(recording, {"audio"})
    await until(lambda: recorder.is_armed)
    hear(recorder, 100.0, 50)
    recorder.flush(101.0)
    await until(lambda: (recording.folder / "doctor-1-1.webm").exists() and not recorder._bytes)
    written = SegmentFile.write

    def full(self, samples):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(SegmentFile, "write", full)
    hear(recorder, 101.0, 50, 48_000)
    recorder.flush(102.0)
    await until(lambda: told.failed)
    monkeypatch.setattr(SegmentFile, "write", written)
    assert told.failed == ["no_space_left_on_device"]
    await until(lambda: recorder.is_armed)
    hear(recorder, 102.0, 50, 96_000)
    await recorder.close()
    manifest = await recording.finish()
    assert [one.name for one in manifest.segments] == ["doctor-1-1.webm", "doctor-1-2.webm"]
    assert [one.what for one in manifest.timeline] == ["recorder_failed"]
    assert [len(times(recording.folder / one.name, "audio")) for one in manifest.segments] == [50, 50]


async def test_a_disk_that_stays_full_is_tried_less_and_less_often(recording, told, monkeypatch):
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.001)
    os.chmod(recording.folder, 0o700)
    monkeypatch.setattr(recorders, "_create", _refuse)
    recorder = told.begin(recording)
    await until(lambda: len(told.failed) == 3)
    assert not recorder.is_armed
    assert recorder._retry_seconds >= 0.008
    monkeypatch.undo()
    await until(lambda: recorder.is_armed)
    await recorder.close()
    assert (await recording.finish()).segments == ()
    assert [path.name for path in recording.folder.iterdir() if path.name.startswith("doctor")] == []


def _refuse(path):
    raise PermissionError(13, os.strerror(13))


async def test_a_writer_that_hangs_costs_frames_but_no_memory(recording, told, monkeypatch):
    monkeypatch.setattr(recorders, "QUEUE_BYTES", 20_000)
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.01)
    go = asyncio.Event()
    recorder = told.begin(recording, {"audio"})
    await until(lambda: recorder.is_armed)
    loop = asyncio.get_running_loop()
    recording.threads.write(lambda: asyncio.run_coroutine_threadsafe(go.wait(), loop).result())
    for second in range(20):
        hear(recorder, 100.0 + second, 50, 48_000 * second)
        recorder.flush(101.0 + second)
        assert recorder._bytes <= 20_000
    assert told.failed == ["queue_full"]
    go.set()
    await until(lambda: recorder.is_armed)
    hear(recorder, 130.0, 10, 30 * 48_000)
    await recorder.close()
    assert [one.name for one in (await recording.finish()).segments][-1] == "doctor-1-2.webm"


async def test_what_waits_for_the_next_file_when_the_leg_ends_is_written(recording, told):
    recorder = told.begin(recording, {"audio"})
    hear(recorder, 100.0, 20)
    assert not recorder.is_armed
    await recorder.close()
    [segment] = (await recording.finish()).segments
    assert len(times(recording.folder / segment.name, "audio")) == 20


async def test_a_leg_that_never_sent_anything_leaves_nothing(recording, told):
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    await recorder.close()
    await recorder.close()
    assert (await recording.finish()).segments == ()
    assert sorted(path.name for path in recording.folder.iterdir()) == [".lock", "manifest.json"]


async def test_reports_keep_sound_and_picture_in_step(recording, told):
    recorder = told.begin(recording)
    await until(lambda: recorder.is_armed)
    hear(recorder, 100.0, 10)
    see(recorder, 100.3, 1)  # taken when the sound was, it came 0.3 s later
    recorder.sender_report("audio", 5000 << 32, 0)
    recorder.sender_report("video", 5000 << 32, 0)
    recorder.put("video", "vp8", 90_000, 45_000, pictures("vp8")[1], False, 100.8)
    recorder.restart("video")
    await recorder.close()
    [segment] = (await recording.finish()).segments
    assert times(recording.folder / segment.name, "video")[-1] == pytest.approx(0.5, abs=0.002)
