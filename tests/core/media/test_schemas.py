import pytest
from marshmallow import ValidationError

from core.media.schemas import AskLink, LinkView, MediaView, SignedQuery
from tests.clock import SettableClock


def test_a_link_is_asked_for_the_original_unless_said_otherwise():
    assert AskLink().load({}) == {"variant": "original"}
    assert AskLink().load({"variant": "thumbnail"}) == {"variant": "thumbnail"}


def test_there_are_two_variants():
    with pytest.raises(ValidationError):
        AskLink().load({"variant": "raw"})


def test_a_signed_query_is_complete_and_numbers_are_numbers():
    query = {"variant": "original", "account": "01J", "expires": "5", "signature": "x"}
    assert SignedQuery().load(query) == query | {"expires": 5}
    for missing in query:
        with pytest.raises(ValidationError):
            SignedQuery().load({name: value for name, value in query.items() if name != missing})


def test_nothing_of_the_document_leaves_but_what_is_named():
    shown = MediaView().dump({"id": "1", "readers": ["2"], "owner": "3", "visits": ["4"], "status": "ready"})
    assert shown == {"id": "1"}


def test_a_link_tells_when_it_ends():
    assert LinkView().dump({"url": "/x", "expires_at": SettableClock().now()})["expires_at"].endswith("Z")
