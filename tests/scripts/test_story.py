import io

import av
import pytest
from PIL import Image

from core.patients.rules import normalise_number
from scripts.acting import NotAsPromised
from scripts.story import CONSULTATION, clip, picture, require, valid_id_number


def test_a_broken_promise_is_named():
    require(True, "kept")
    with pytest.raises(NotAsPromised, match="the price is shown"):
        require([], "the price is shown")


def test_the_picture_and_the_clip_are_what_they_say():
    assert Image.open(io.BytesIO(picture(64, 48))).size == (64, 48)
    with av.open(io.BytesIO(clip(1.0))) as container:
        (stream,) = container.streams
        assert (stream.type, stream.width, stream.height) == ("video", 160, 120)
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.2)


# GB 11643-1999, the example of its annex and one with the character X.
@pytest.mark.parametrize(
    ("birth", "sequence", "area", "number"),
    [("19491231", 2, "110105", "11010519491231002X"), ("18800101", 1, "440524", "440524188001010014")],
)
def test_id_numbers_bear_the_right_check_character(birth, sequence, area, number):
    assert valid_id_number(birth, sequence, area) == number == normalise_number(number)


def test_every_step_says_what_it_promises_and_bears_its_own_name():
    names = [step.__name__ for step in CONSULTATION]
    assert len(set(names)) == len(names)
    assert all(step.__doc__ for step in CONSULTATION)
