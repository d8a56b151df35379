"""The parts of a composition, in this process."""

import tempfile

import pytest

from rtc.composing import PICTURES_A_SECOND, SAMPLES_A_SECOND, TILE, Mixed, SideBySide, Tiles, lay_out_sound
from rtc.segments import SegmentFile
from tests.rtc.samples import picture, sound


def piece(path, offset, samples):
    file = SegmentFile(path, samples)
    file.write(samples)
    file.close()
    return {"path": str(path), "offset": offset}


def test_sound_lies_where_it_was_said_and_the_rest_is_a_hole(tmp_path):
    pieces = [piece(tmp_path / "a.webm", 1.0, sound(0.0, 50)), piece(tmp_path / "b.webm", 60.0, sound(0.0, 10))]
    with tempfile.TemporaryFile() as spool:
        assert lay_out_sound(pieces, spool) / SAMPLES_A_SECOND == pytest.approx(60.2, abs=0.01)
        spool.seek(0)
        data = memoryview(spool.read()).cast("h")
    assert max(data[: SAMPLES_A_SECOND - 1]) == 0
    assert max(data[SAMPLES_A_SECOND + 5000 : SAMPLES_A_SECOND + 10_000]) > 1000
    assert max(data[3 * SAMPLES_A_SECOND : 59 * SAMPLES_A_SECOND]) == 0


def test_there_is_exactly_as_much_mixed_sound_as_was_laid_out(tmp_path):
    with tempfile.TemporaryFile() as left, tempfile.TemporaryFile() as right:
        lay_out_sound([piece(tmp_path / "a.webm", 0.0, sound(0.0, 50))], left)
        lay_out_sound([piece(tmp_path / "b.webm", 2.0, sound(0.0, 50))], right)
        mixed = Mixed((left, right))
        parts = [*mixed.until(3 * SAMPLES_A_SECOND), *mixed.end()]
    assert sum(part.samples for part in parts) == pytest.approx(3 * SAMPLES_A_SECOND, abs=1024)


def test_a_tile_shows_the_last_picture_until_it_is_stale(tmp_path):
    tiles = Tiles([piece(tmp_path / "a.webm", 1.0, picture(0.0, 25))])
    assert tiles.has_any
    before, early, late, stale = (bytes(tiles.at(seconds).planes[0]) for seconds in (0.5, 1.01, 3.5, 4.5))
    assert set(before) == set(stale) == {16}
    assert early != before
    assert late != early
    assert not tiles.goes_on
    assert not Tiles([]).has_any


def test_the_shape_may_change_in_the_middle(tmp_path):
    tiles = Tiles([
        piece(tmp_path / "a.webm", 0.0, picture(0.0, 5)), piece(tmp_path / "b.mkv", 0.2, picture(0.0, 5, "h264")),
    ])  # fmt: skip
    for number in range(10):
        frame = tiles.at(number / PICTURES_A_SECOND)
        assert (frame.width, frame.height) == TILE


def test_two_tiles_are_one_picture():
    both, frames = SideBySide(), []
    for number in range(3):
        frames += both.add(number, [Tiles([]).at(0.0), Tiles([]).at(0.0)])
    frames += both.end()
    assert [(frame.width, frame.height) for frame in frames] == [(2 * TILE[0], TILE[1])] * 3
