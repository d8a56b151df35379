import pytest
from marshmallow import ValidationError

from core.backoffice.schemas import ConsultTypeChange, ConsultTypeForm


def test_form_needs_only_a_name():
    assert ConsultTypeForm().load({"name": " 报告解读 "}) == {
        "name": "报告解读",
        "description": "",
        "order": None,
        "enabled": True,
    }


@pytest.mark.parametrize("fault", [{"name": "  "}, {"name": "长" * 21}, {"order": -1}, {"order": "1"}, {"id": "x"}])
def test_form_names_the_wrong_field(fault):
    with pytest.raises(ValidationError) as refused:
        ConsultTypeForm().load({"name": "报告解读"} | fault)
    assert list(refused.value.messages) == list(fault)


@pytest.mark.parametrize("body", [{}, {"version": 1}])
def test_change_must_change_something(body):
    with pytest.raises(ValidationError):
        ConsultTypeChange().load(body)
