import pytest
from marshmallow import ValidationError

from core.backoffice.staff_schemas import StaffChange, StaffForm

FORM = {"account": "shenzhiqiu", "role": "nurse", "name": "沈知秋", "phone": "13900001111"}


def test_a_form_needs_name_role_and_phone_only():
    assert StaffForm().load(FORM) == FORM | {"department_id": None, "password": None, "doctor": None}


@pytest.mark.parametrize(
    "fault",
    [{"account": "沈知秋"}, {"role": "patient"}, {"name": ""}, {"phone": "12345"}, {"password": "x"}, {"epoch": 1}],
)
def test_a_form_names_the_field_at_fault(fault):
    with pytest.raises(ValidationError) as refused:
        StaffForm().load(FORM | fault)
    assert list(refused.value.messages) == list(fault)


@pytest.mark.parametrize("body", [{}, {"role": "patient"}, {"status": "locked"}, {"password": "correct-horse-7"}])
def test_a_change_says_something_that_may_be_changed(body):
    with pytest.raises(ValidationError):
        StaffChange().load(body)
