"""One film of a call."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest

from rtc import compose as composition
from rtc.compose import CompositionFailed, Piece, compose, pieces_of
from rtc.media import Manifest, Segment
from rtc.segments import SegmentFile
from tests.rtc.samples import picture, sound, times

pytestmark = pytest.mark.gen_test(timeout=60)
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def segment(path, samples):
    file = SegmentFile(path, samples)
    file.write(samples)
    file.close()
    return path


def manifest(began_at, *segments):
    return Manifest("call", began_at, tuple(segments), ())


def of(side, name, started_at, duration=1.0):
    return Segment(side, 1, name, 1, started_at, 0.0, duration, "", "")


def tile(frame, place):
    """The brightest of some points in the middle of the left (0) or right (1) half."""
    plane = frame.planes[0]
    begin = plane.line_size * 240 + 640 * place
    return max(bytes(plane)[begin + 60 : begin + 580 : 40])


async def test_two_sides_become_one_film_with_late_starts_and_gaps_in_place(tmp_path):
    left = segment(tmp_path / "a.webm", [*sound(0.0, 50), *picture(0.0, 25)])
    again = segment(tmp_path / "b.mkv", [*sound(0.0, 25), *picture(0.0, 10, "h264")])
    right = segment(tmp_path / "c.webm", [*sound(0.0, 50), *picture(0.0, 25)])
    pieces = [
        Piece("doctor", left, 0.0, 1.0), Piece("patient", right, 1.0, 1.0), Piece("doctor", again, 4.5, 0.5)
    ]  # fmt: skip
    film = await compose(pieces, tmp_path / "film.mp4")
    assert film.duration == pytest.approx(5.0, abs=0.08)
    assert film.pictures == round(25 * film.duration)
    assert film.size == (tmp_path / "film.mp4").stat().st_size
    with av.open(str(tmp_path / "film.mp4")) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height) == (1280, 480)
        assert float(video.duration * video.time_base) == film.duration
        assert float(audio.duration * audio.time_base) == pytest.approx(5.0, abs=0.08)
        shown = list(file.decode(video))
    black = 16
    dark = [[tile(frame, place) < black + 8 for frame in shown] for place in (0, 1)]
    assert not any(dark[0][:73]) and all(dark[0][76:111]) and not any(dark[0][113:])  # noqa: PT018 -- one line of time
    assert all(dark[1][:24]) and not any(dark[1][26:98]) and all(dark[1][101:])  # noqa: PT018 -- the other
    assert [loudness(tmp_path / "film.mp4", second) > 100 for second in (0.5, 1.5, 2.5, 3.5, 4.75)] == [
        True, True, False, False, True,
    ]  # fmt: skip


def loudness(path, second):
    """The mean amplitude in the fifth of a second around that one."""
    values = []
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in file.decode(audio=0):
            if abs(float(frame.time) - second) < 0.1:
                for part in resampler.resample(frame):
                    data = bytes(part.planes[0])[: 2 * part.samples]
                    values += memoryview(data).cast("h").tolist()
    return sum(map(abs, values)) / len(values)


async def test_a_call_of_sound_becomes_a_film_of_sound(tmp_path):
    left = segment(tmp_path / "a.webm", sound(0.0, 50))
    film = await compose([Piece("doctor", left, 0.5, 1.0)], tmp_path / "film.mp4")
    assert (film.duration, film.pictures) == (pytest.approx(1.5, abs=0.02), 0)
    assert times(tmp_path / "film.mp4", "video") == []
    assert loudness(tmp_path / "film.mp4", 0.2) < 10 < 100 < loudness(tmp_path / "film.mp4", 1.0)


async def test_a_file_whose_writer_died_is_composed_as_far_as_it_goes(tmp_path):
    whole = segment(tmp_path / "a.webm", [*sound(0.0, 100), *picture(0.0, 50)]).read_bytes()
    (tmp_path / "b.webm").write_bytes(whole[: len(whole) * 3 // 4])
    film = await compose([Piece("doctor", tmp_path / "b.webm", 0.0, 2.0)], tmp_path / "film.mp4")
    assert 1.0 < film.duration < 1.9


@pytest.mark.parametrize("data", [b"", b"rubbish" * 100])
async def test_what_cannot_be_read_makes_no_film(tmp_path, data):
    (tmp_path / "a.webm").write_bytes(data)
    with pytest.raises(CompositionFailed):
        await compose([Piece("doctor", tmp_path / "a.webm", 0.0, 1.0)], tmp_path / "film.mp4")
    with pytest.raises(CompositionFailed, match="nothing was recorded"):
        await compose([], tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.webm"]


async def test_a_child_that_takes_too_long_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(composition, "LEAST_SECONDS", 0.01)
    monkeypatch.setattr(composition, "WALL_SECONDS_A_SECOND", 0.01)
    left = segment(tmp_path / "a.webm", sound(0.0, 50))
    with pytest.raises(CompositionFailed, match="too long"):
        await compose([Piece("doctor", left, 0.0, 1.0)], tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


async def test_a_child_without_enough_memory_fails_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(composition, "MEMORY_BYTES", 64 * 1024 * 1024)
    left = segment(tmp_path / "a.webm", [*sound(0.0, 10), *picture(0.0, 5)])
    with pytest.raises(CompositionFailed, match="ended with"):
        await compose([Piece("doctor", left, 0.0, 1.0)], tmp_path / "film.mp4")


def children():
    """Command lines of this process' children."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_bytes() for child in found]


async def test_who_gives_up_waiting_leaves_no_child(tmp_path):
    left = segment(tmp_path / "a.webm", [*sound(0.0, 100), *picture(0.0, 50)])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(compose([Piece("doctor", left, 0.0, 2.0)], tmp_path / "film.mp4"), 0.3)
    assert not [one for one in children() if b"rtc.composing" in one]


def test_manifests_of_two_processes_are_one_time_line(tmp_path):
    first = manifest(
        NOW, of("doctor", "doctor-1-1.webm", NOW), of("patient", "patient-1-1.webm", NOW + timedelta(seconds=2))
    )
    second = manifest(NOW + timedelta(seconds=9), of("doctor", "doctor-2-1.webm", NOW + timedelta(seconds=10), 4.0))
    assert pieces_of([(second, tmp_path / "2"), (first, tmp_path / "1")]) == [
        Piece("doctor", tmp_path / "1" / "doctor-1-1.webm", 0.0, 1.0),
        Piece("patient", tmp_path / "1" / "patient-1-1.webm", 2.0, 1.0),
        Piece("doctor", tmp_path / "2" / "doctor-2-1.webm", 10.0, 4.0),
    ]
