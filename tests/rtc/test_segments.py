"""Frames become files."""

import pytest

from rtc import segments
from rtc.segments import SegmentFile
from tests.rtc.samples import picture, sound, times


def write(path, *batches):
    file = SegmentFile(path, batches[0])
    for batch in batches:
        file.write(batch)
    file.close()
    return file


@pytest.mark.parametrize(("codec", "name"), [("vp8", "a.webm"), ("h264", "a.mkv")])
def test_a_file_plays_from_its_first_frame(tmp_path, codec, name):
    file = write(
        tmp_path / name, [*sound(7.0, 50), *picture(7.1, 25, codec)], [*sound(8.0, 50), *picture(8.1, 25, codec)]
    )
    assert file.offset == 7.0
    seen, heard = times(tmp_path / name, "video"), times(tmp_path / name, "audio")
    assert (len(seen), len(heard)) == (50, 100)
    assert seen[0] == pytest.approx(0.1, abs=0.002)
    assert seen[-1] == pytest.approx(2.06, abs=0.002)
    assert file.duration == pytest.approx(2.06, abs=0.002)


def test_a_gap_is_a_gap(tmp_path):
    write(tmp_path / "a.webm", sound(0.0, 50), sound(5.0, 50))
    heard = times(tmp_path / "a.webm", "audio")
    assert len(heard) == 100
    assert heard[50] - heard[49] == pytest.approx(4.02, abs=0.01)


def test_a_file_of_sound_only_has_one_stream(tmp_path):
    write(tmp_path / "a.webm", sound(0.0, 20))
    assert times(tmp_path / "a.webm", "video") == []
    assert len(times(tmp_path / "a.webm", "audio")) == 20


def test_time_never_runs_backwards_in_a_file(tmp_path):
    write(tmp_path / "a.webm", picture(1.0, 10), picture(1.1, 5), picture(0.0, 5))
    seen = times(tmp_path / "a.webm", "video")
    assert len(seen) == 20
    assert seen == sorted(seen)


def test_the_file_says_nothing_about_the_program(tmp_path):
    write(tmp_path / "a.webm", sound(0.0, 20))
    assert b"Lavf6" not in (tmp_path / "a.webm").read_bytes()


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "missing" / "a.webm", sound(0.0, 1))


def test_the_length_is_read_from_a_file_that_was_never_closed(tmp_path):
    file = SegmentFile(tmp_path / "a.webm", sound(0.0, 100))
    file.write(sound(0.0, 100))
    (tmp_path / "b.webm").write_bytes((tmp_path / "a.webm").read_bytes())
    assert 0.9 < segments.length_of(tmp_path / "b.webm") <= 2.0
    file.close()
    assert segments.length_of(tmp_path / "a.webm") == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("data", [b"", b"rubbish" * 100, b"#EXTM3U\n/etc/passwd\n"])
def test_what_is_no_recording_has_no_length(tmp_path, data):
    (tmp_path / "a.webm").write_bytes(data)
    assert segments.length_of(tmp_path / "a.webm") is None
