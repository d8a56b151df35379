import pytest
from marshmallow import ValidationError

from core.directory.schemas import DivisionQuery, DoctorQuery


def test_doctor_query_asks_for_nothing_by_itself():
    assert DoctorQuery().load({}) == {
        "limit": 20,
        "cursor": None,
        "department": None,
        "q": "",
        "service": None,
        "online": None,
    }


@pytest.mark.parametrize(
    "query", [{"service": "surgery"}, {"q": "长" * 51}, {"online": "perhaps"}, {"limit": "101"}, {"colour": "red"}]
)
def test_doctor_query_refuses_what_it_does_not_know(query):
    with pytest.raises(ValidationError) as refused:
        DoctorQuery().load(query)
    assert list(refused.value.messages) == list(query)


def test_online_is_read_from_the_words_a_query_uses():
    assert [DoctorQuery().load({"online": word})["online"] for word in ("true", "1", "false", "0")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("parent", ["11", "11000a", "1100000"])
def test_division_code_has_six_digits(parent):
    with pytest.raises(ValidationError):
        DivisionQuery().load({"parent": parent})
