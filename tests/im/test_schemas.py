"""Bounds of what clients send."""

import pytest
from marshmallow import ValidationError

from im import schemas

VISIT = "01KAQ0000000000000000000ZZ"


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({}, "cursors"),
        ({"cursors": {"x": 1}}, "cursors"),
        ({"cursors": {VISIT: -1}}, "cursors"),
        ({"cursors": {VISIT: True}}, "cursors"),
        ({"cursors": {f"01KAQ0000000000000000{number:05}": 0 for number in range(101)}}, "cursors"),
        ({"cursors": None, "limit": 0}, "limit"),
        ({"cursors": None, "limit": 201}, "limit"),
    ],
)
def test_a_sync_out_of_bounds_names_its_field(args, field):
    with pytest.raises(ValidationError) as caught:
        schemas.Sync().load(args)
    assert list(caught.value.messages) == [field]


def test_a_sync_may_have_no_cursors_and_no_limit():
    assert schemas.Sync().load({"cursors": None}) == {"cursors": None, "limit": 50}


def test_every_kind_people_send_has_a_body():
    assert set(schemas.BODIES) == set(schemas.KINDS)


def test_a_body_is_told_from_its_kind():
    with pytest.raises(ValidationError) as caught:
        schemas.Send().load({"conversation": VISIT, "kind": "image", "body": {"text": "x"}})
    assert list(caught.value.messages) == ["body"]
