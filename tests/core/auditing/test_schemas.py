from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from core.auditing.schemas import AuditEntryView, AuditQuery, ChainQuery, ExportQuery
from tests.storage.test_audit import NOW, an_entry


def test_times_are_read_as_utc():
    loaded = AuditQuery().load({"from": "2026-11-02T12:00:00+08:00"})
    assert (loaded["since"], loaded["until"]) == (NOW, None)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-11-02T12:00:00"},
        {"from": "yesterday"},
        {"from": "0001-01-01T00:00:00+08:00"},
        {"actor": "a b"},
        {"act": "read"},
        {"act": "visit.read.more"},
        {"subject": "visit"},
        {"subject": "visit:a b"},
        {"cursor": "x"},
        {"limit": "101"},
        {"colour": "red"},
    ],
)
def test_what_is_no_filter_is_refused(query):
    with pytest.raises(ValidationError):
        AuditQuery().load(query)


def test_an_export_has_a_beginning_before_its_end():
    span = {"from": "2026-11-02T04:00:00Z", "to": "2026-11-02T04:00:01Z"}
    assert ExportQuery().load(span)["until"] == datetime(2026, 11, 2, 4, 0, 1, tzinfo=UTC)
    for wrong in ({"from": span["from"]}, {"from": span["to"], "to": span["from"]}, {"from": "x", "to": "y"}):
        with pytest.raises(ValidationError):
            ExportQuery().load(wrong)


@pytest.mark.parametrize("query", [{"after": "-1"}, {"limit": "51"}, {"limit": "0"}, {"after": "x"}])
def test_a_stretch_of_the_chain_is_bounded(query):
    with pytest.raises(ValidationError):
        ChainQuery().load(query)


def test_an_entry_is_shown_with_its_block_or_none():
    shown = AuditEntryView().dump(an_entry(frm="waiting", block=0))
    assert (shown["at"], shown["from"], shown["block"]) == ("2026-11-02T04:00:00.000Z", "waiting", None)
    assert AuditEntryView().dump(an_entry(block=3))["block"] == 3
