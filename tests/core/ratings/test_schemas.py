from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from core.ratings.schemas import GiveRating, RatingView


@pytest.mark.parametrize("stars", [1, 5])
def test_one_to_five_stars_with_or_without_words(stars):
    assert GiveRating().load({"stars": stars}) == {"stars": stars, "text": ""}
    assert GiveRating().load({"stars": stars, "text": " 很好\n"})["text"] == "很好"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({}, "stars"),
        ({"stars": 0}, "stars"),
        ({"stars": 6}, "stars"),
        ({"stars": 4.5}, "stars"),
        ({"stars": "5"}, "stars"),
        ({"stars": None}, "stars"),
        ({"stars": 5, "text": "x" * 501}, "text"),
        ({"stars": 5, "text": "\x00"}, "text"),
        ({"stars": 5, "text": None}, "text"),
        ({"stars": 5, "author": "别人"}, "author"),
    ],
)
def test_anything_else_is_refused_by_its_name(raw, field):
    with pytest.raises(ValidationError) as refused:
        GiveRating().load(raw)
    assert list(refused.value.normalized_messages()) == [field]


def test_a_rating_is_shown_with_its_time():
    shown = RatingView().dump({"stars": 5, "text": "很好", "at": datetime(2026, 3, 1, tzinfo=UTC), "author": "演*"})
    assert shown == {"stars": 5, "text": "很好", "at": "2026-03-01T00:00:00.000Z"}
