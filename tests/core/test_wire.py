from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields, validate

from core.ids import new_id
from core.wire import Day, Page, Text, Time, page, page_of, read_json, rfc3339, text


class Form(Schema):
    at = Time()
    day = Day()
    said = text(1, 5)
    note = Text()


def test_times_are_written_in_utc_with_milliseconds():
    beijing = datetime(2026, 3, 1, 8, 0, 0, 120_000, tzinfo=timezone(timedelta(hours=8)))
    assert rfc3339(beijing) == "2026-03-01T00:00:00.120Z"
    assert Form().dump({"at": beijing})["at"] == "2026-03-01T00:00:00.120Z"
    assert Form().dump({"at": None})["at"] is None


@pytest.mark.parametrize("wrong", ["2026-02-30", "20260301", "2026-3-1", 20260301, "", "2026-W01-1"])
def test_a_day_that_is_not_in_the_calendar_is_refused(wrong):
    with pytest.raises(ValidationError) as refused:
        Form().load({"day": wrong})
    assert list(refused.value.messages) == ["day"]


def test_text_is_trimmed_and_measured():
    assert Form().load({"said": "  您好  "}) == {"said": "您好"}
    with pytest.raises(ValidationError):
        Form().load({"said": "六个字的句子"})


@given(st.characters(categories=["Cc", "Cs"]))
def test_no_control_character_gets_through(char):
    if (char in "\n\r\t" or ord(char) >= 127) and not "\ud800" <= char <= "\udfff":
        return
    with pytest.raises(ValidationError):
        Form().load({"note": f"a{char}b"})


def test_a_page_tells_where_the_next_begins_only_when_there_is_more():
    items = [{"_id": "c"}, {"_id": "b"}, {"_id": "a"}]
    assert page(items, 2) == {"items": items[:2], "next_cursor": "b"}
    assert page(items, 3) == {"items": items, "next_cursor": None}


def test_a_list_asks_for_a_hundred_at_most_and_for_a_cursor_of_ours():
    loaded = Page().load({"limit": "100", "cursor": new_id()})
    assert loaded["limit"] == 100
    for wrong in ({"limit": "101"}, {"limit": "0"}, {"cursor": "' or 1=1"}):
        with pytest.raises(ValidationError):
            Page().load(wrong)


def test_the_schema_of_a_page_is_named_after_its_items():
    class Thing(Schema):
        id = fields.Str(attribute="_id")

    answer = page_of(Thing)
    assert type(answer).__name__ == "ThingPage"
    assert answer.dump(page([{"_id": "a"}], 5)) == {"items": [{"id": "a"}], "next_cursor": None}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b'{"a": [1, -2.5, true, null, "\\u60a8"]}', {"a": [1, -2.5, True, None, "您"]}),
        (b"9223372036854775807", 2**63 - 1),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\\ud800"', "\\ud800"),
    ],
)
def test_json_is_read(said, meant):
    assert read_json(said) == meant


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"NaN", b"-Infinity", b"1e999", b"9223372036854775808", rb'"\ud800"', rb'{"\udc00": 1}', b'"\xff"'],
)
def test_json_that_no_store_would_take_is_not_read(said):
    with pytest.raises(ValueError):
        read_json(said)


def test_people_read_chinese_beside_every_field():
    class Order(Schema):
        count = fields.Int(required=True, strict=True, validate=validate.Range(1, 5))
        kind = fields.Str(validate=validate.OneOf(["a"]))
        name = fields.Str(validate=validate.Length(1, 2))

    said = Order().validate({"kind": "b", "name": "", "surprise": 1})
    assert said == {
        "count": ["此项必填"],
        "kind": ["不在可选范围内"],
        "name": ["长度须在 1 到 2 之间"],
        "surprise": ["不支持的字段"],
    }
    assert Order().validate({"count": 6}) == {"count": ["须不小于 1，且不大于 5"]}
    assert Order().validate({"count": "5"}) == {"count": ["须为整数"]}
    assert Order().validate({"count": None}) == {"count": ["此项不能为空"]}
