import pytest
from marshmallow import ValidationError

from core.desk import schemas


def faults(schema, given) -> dict:
    with pytest.raises(ValidationError) as refused:
        schema.load(given)
    return refused.value.messages


def test_a_group_has_a_name_of_one_to_twenty_characters_without_blanks_around():
    assert schemas.GroupForm().load({"name": " 高血压随访 "}) == {"name": "高血压随访"}
    for wrong in ({}, {"name": ""}, {"name": "  "}, {"name": "长" * 21}, {"name": None}, {"name": 3}):
        assert list(faults(schemas.GroupForm(), wrong)) == ["name"]


@pytest.mark.parametrize("day", ["1999-12-31", "2101-01-01", "2026-02-30", "20260201", "", "0001-01-01"])
def test_days_that_nobody_means_are_refused(day):
    assert list(faults(schemas.IncomeQuery(), {"from": day})) == ["from"]
    assert list(faults(schemas.DeskOrderQuery(), {"to": day})) == ["to"]


def test_income_is_by_day_where_nothing_is_said():
    assert schemas.IncomeQuery().load({}) == {"by": "day", "first": None, "last": None}
    asked = schemas.IncomeQuery().load({"by": "month", "from": "2026-01-01", "to": "2026-02-01"})
    assert asked == {"by": "month", "first": "2026-01-01", "last": "2026-02-01"}
    assert list(faults(schemas.IncomeQuery(), {"by": "year"})) == ["by"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("introduction", "长" * 1_001),
        ("skills", ["高血压", "高血压"]),
        ("skills", [f"病{n}" for n in range(11)]),
        ("skills", [""]),
        ("fees", {"surgery": 100}),
        ("fees", {"consult": "100"}),
        ("fees", {"consult": 1.5}),
        ("services", ["surgery"]),
        ("services", ["consult", "consult"]),
        ("photo", ""),
        ("version", 0),
        ("name", "另一个名字"),
        ("licence_number", "1"),
        ("online", True),
    ],
)
def test_what_is_not_the_doctors_to_say_is_refused(field, value):
    assert list(faults(schemas.ProfileForm(), {field: value})) == [field]


def test_a_page_is_changed_in_what_is_given():
    given = {"skills": [" 高血压 "], "photo": None, "fees": {"consult": 0}, "services": [], "version": 1}
    assert schemas.ProfileForm().load(given) == {**given, "skills": ["高血压"]}
    assert schemas.ProfileForm().load({}) == {}


@pytest.mark.parametrize("replies", [["好", "好"], [""], ["长" * 201], "好", None])
def test_quick_replies_are_short_and_different(replies):
    assert list(faults(schemas.QuickRepliesForm(), {"version": 0, "replies": replies})) == ["replies"]


def test_quick_replies_name_what_was_seen():
    assert list(faults(schemas.QuickRepliesForm(), {"replies": []})) == ["version"]
    assert schemas.QuickRepliesForm().load({"version": 0, "replies": ["长" * 200]})["replies"] == ["长" * 200]


def test_a_group_shows_how_many_are_in_it_and_not_who():
    group = {"_id": "g", "name": "复查", "patients": ["a", "b"], "created_at": None, "doctor_id": "d"}
    assert schemas.GroupView().dump(group) == {"id": "g", "name": "复查", "patients": 2, "created_at": None}
