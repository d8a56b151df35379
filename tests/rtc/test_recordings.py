"""The folder of recordings, after good ends and bad ones."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from rtc import manifests
from rtc.digests import digest
from rtc.manifests import Draft, Unfinished
from rtc.media import Manifest, Moment
from rtc.recordings import Recordings
from rtc.room import open_rooms
from tests.rtc.rooms import Heard
from tests.rtc.samples import times

pytestmark = pytest.mark.gen_test(timeout=60)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recordings(tmp_path, threads):
    return Recordings(tmp_path / "recordings", threads)


async def test_a_finished_recording_is_handed_over_file_by_file(recordings):
    recording = await recordings.open("call")
    (recording.folder / "doctor-1-1.webm").write_bytes(b"one")
    (recording.folder / "patient-1-1.mkv").write_bytes(b"two")
    (recording.folder / "doctor-1-2").write_bytes(b"")  # armed, and never used
    assert await recordings.left_behind() == []
    with pytest.raises(BlockingIOError):
        await recordings.hand_over(recording.folder, _forget)
    await recording.finish()
    assert await recordings.left_behind() == [recording.folder]
    kept = []

    async def store(name, path):
        assert path.exists()
        kept.append((name, path.read_bytes()[:3]))

    await recordings.hand_over(recording.folder, store)
    assert [name for name, _ in kept] == ["doctor-1-1.webm", "patient-1-1.mkv", "manifest.json"]
    assert [data for _, data in kept[:2]] == [b"one", b"two"]
    assert not recording.folder.exists()
    assert await recordings.left_behind() == []


async def _forget(name, path):
    raise AssertionError("nothing is to be handed over")


async def test_handing_over_goes_on_where_the_store_failed(recordings):
    recording = await recordings.open("call")
    for name in ("doctor-1-1.webm", "patient-1-1.webm"):
        (recording.folder / name).write_bytes(b"film")
    await recording.finish()
    kept, refused = [], ["patient-1-1.webm"]

    async def store(name, path):
        if name in refused:
            refused.remove(name)
            raise ConnectionError("the store is away")
        kept.append(name)

    with pytest.raises(ConnectionError):
        await recordings.hand_over(recording.folder, store)
    assert (recording.folder / "patient-1-1.webm").exists()
    await recordings.hand_over(recording.folder, store)
    assert kept == ["doctor-1-1.webm", "patient-1-1.webm", "manifest.json"]


@pytest.mark.parametrize("call", ["", "../x", "a/b", "x" * 65, "咳"])
async def test_a_call_whose_id_is_none_opens_nothing(recordings, tmp_path, call):
    with pytest.raises(ValueError, match="no id"):
        await recordings.open(call)
    assert list(tmp_path.iterdir()) == []


async def test_two_processes_may_record_one_call(recordings):
    first, second = await recordings.open("call"), await recordings.open("call")
    assert first.folder != second.folder
    assert {first.folder.name.partition(".")[0], second.folder.name.partition(".")[0]} == {"call"}
    await first.finish()
    await second.finish()


async def test_opening_a_room_where_nothing_can_be_written_is_an_os_error(tmp_path, threads):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        await open_rooms(Recordings(tmp_path / "file", threads))("call", "video", Heard())


RECORD = """
import asyncio, itertools, sys, time
from pathlib import Path
from rtc.recorder import Recorder
from rtc.recordings import Recordings
from rtc.threads import Threads
from tests.rtc.clips import pictures, sounds

async def main():
    recording = await Recordings(Path(sys.argv[1]), Threads()).open("call")
    nothing = lambda: None
    kinds = {"audio", "video"}
    recorder = Recorder(recording, "doctor", 3, kinds, armed=nothing, failed=print, want_key_frame=nothing)
    film, voice = pictures("vp8", count=10), sounds(50)
    began, flushed, sound, picture = time.monotonic(), 0.0, 0, 0
    while True:
        now = time.monotonic()
        while sound / 50 <= now - began:
            recorder.put("audio", "opus", 48_000, 960 * sound, voice[sound % 50], True, began + sound / 50)
            sound += 1
        while picture / 25 <= now - began:
            data = film[picture % 10]
            recorder.put("video", "vp8", 90_000, 3600 * picture, data, not data[0] & 1, began + picture / 25)
            picture += 1
        if now - flushed >= 0.5:
            flushed = now
            recorder.flush(now)
        print(now - began, flush=True)
        await asyncio.sleep(0.02)

asyncio.run(main())
"""


async def killed_after(root, seconds):
    """Seconds that a recording process had recorded when it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RECORD,
        str(root),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    told = 0.0
    while told < seconds:
        told = float(await process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).split()
    await process.wait()
    return float(rest[-1]) if rest else told


@pytest.mark.parametrize("seconds", [0.9, 3.3])
async def test_a_process_that_is_killed_loses_at_most_two_seconds(recordings, tmp_path, seconds):
    recorded = await killed_after(tmp_path / "recordings", seconds)
    [folder] = await recordings.left_behind()
    manifest = await recordings.manifest(folder)
    played = times(folder / manifest.segments[0].name, "video")[-1] if manifest.segments else 0.0
    assert recorded - played <= 2.0
    if seconds > 2:
        [segment] = manifest.segments
        assert (segment.side, segment.generation, segment.name) == ("doctor", 3, "doctor-3-1.webm")
        assert segment.duration == pytest.approx(played, abs=0.1)
        assert times(folder / segment.name, "audio")[-1] == pytest.approx(played, abs=0.3)
        assert segment.sha256 == digest(folder / segment.name).sha256
    assert await recordings.manifest(folder) == manifest


async def test_a_segment_that_the_manifest_does_not_know_yet_is_found_by_its_name(recordings, tmp_path):
    await killed_after(tmp_path / "recordings", 2.5)
    [folder] = await recordings.left_behind()
    [known] = (await recordings.manifest(folder)).segments
    draft = manifests.load(folder)
    manifests.save(folder, Draft(Manifest("call", draft.manifest.began_at, (), (Moment(0.0, "doctor", "joined", 3),))))
    [found] = (await recordings.manifest(folder)).segments
    assert (found.side, found.generation, found.name) == ("doctor", 3, "doctor-3-1.webm")
    assert (found.size, found.sha256, found.duration) == (known.size, known.sha256, known.duration)
    assert found.offset == pytest.approx(known.offset, abs=1.5)


async def test_what_cannot_be_read_is_not_in_the_manifest_but_stays(recordings):
    recording = await recordings.open("call")
    (recording.folder / "doctor-1-1.webm").write_bytes(b"rubbish")
    (recording.folder / "stranger.webm").write_bytes(b"rubbish")
    recording.begin_segment(Unfinished("doctor", 1, "doctor-1-1.webm", recording.instant(0.0), 0.0))
    await recording.finish()
    assert (await recordings.manifest(recording.folder)).segments == ()
    assert (recording.folder / "doctor-1-1.webm").exists()


async def test_a_folder_without_a_recording_is_taken_away_unless_it_may_just_be_being_made(recordings, tmp_path):
    kept = await recordings.open("call")
    await kept.finish()
    assert not await recordings.clear(kept.folder)
    empty = tmp_path / "recordings" / "empty"
    empty.mkdir()
    with pytest.raises(BlockingIOError):
        await recordings.clear(empty)
    assert empty.exists()
    os.utime(empty, (0, 0))
    assert await recordings.clear(empty)
    assert not empty.exists()


async def test_segments_without_a_manifest_are_no_recording(recordings):
    recording = await recordings.open("call")
    (recording.folder / "doctor-1-1.webm").write_bytes(b"rubbish")
    await recording.finish()
    (recording.folder / "manifest.json").unlink()
    assert not await recordings.clear(recording.folder)
    with pytest.raises(ValueError, match="no manifest"):
        await recordings.manifest(recording.folder)
