import pytest
from marshmallow import ValidationError

from core.patients.schemas import GuardianForm, PatientChange, PatientForm, PatientItem
from tests.core.patients.people import form_of, guardian_of


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "张"},
        {"id_type": "08"},
        {"gender": "male"},
        {"birth_date": "1988-02-30"},
        {"phone": "12800001234"},
        {"relation": "friend"},
        {"verification": "verified"},
    ],
)
def test_patient_form_names_the_wrong_field(fault):
    with pytest.raises(ValidationError) as refused:
        PatientForm().load(form_of() | fault)
    assert list(refused.value.messages) == list(fault)


def test_resident_number_stands_for_birth_date_and_gender_and_other_papers_do_not():
    form = {name: value for name, value in form_of().items() if name not in ("gender", "birth_date")}
    assert PatientForm().load(form) == form
    with pytest.raises(ValidationError) as refused:
        PatientForm().load(form | {"id_type": "03"})
    assert set(refused.value.messages) == {"gender", "birth_date"}


def test_change_must_change_something():
    with pytest.raises(ValidationError):
        PatientChange().load({"version": 2})
    assert PatientChange().load({"phone": "13800001234"}) == {"phone": "13800001234"}


def test_guardian_form_asks_for_a_relation_of_guardians():
    assert GuardianForm().load(guardian_of())["relation"] == "father"
    with pytest.raises(ValidationError):
        GuardianForm().load(guardian_of(relation="self"))


@pytest.mark.rule("R6-5")
def test_list_masks_what_is_not_there_too():
    assert PatientItem(only=("name", "phone")).dump({"name": None, "phone": "13800001234"}) == {
        "name": None,
        "phone": "138****1234",
    }
