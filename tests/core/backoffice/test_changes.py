from datetime import UTC, datetime

from core.backoffice import changes
from tests.core.partial import caller_of

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)


def test_only_what_differs_is_a_change():
    assert changes.differing({"a": 1, "b": [2]}, {"a": 1, "b": [3], "c": None, "d": 4}) == {"b": [3], "d": 4}


def test_each_field_is_one_line_of_history():
    caller = caller_of("admin", "office")
    entries = changes.entries(caller, {"name": "甲", "fees": {}}, {"name": "乙", "fees": {"consult": 5}}, at=NOW)
    assert [(one["act"], one["frm"], one["to"], one["actor"], one["role"], one["at"]) for one in entries] == [
        ("change_name", "甲", "乙", "office", "admin", NOW),
        ("change_fees", "{}", '{"consult": 5}', "office", "admin", NOW),
    ]


def test_texts_stay_as_they_are():
    assert (changes.as_text("甲"), changes.as_text(None), changes.as_text(True)) == ("甲", "null", "true")
