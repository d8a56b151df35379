from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.patients import rules
from core.policy import Policy

TODAY = date(2026, 11, 2)
# Published examples, and one found in vendors' pages whose check character is wrong.
VALID = ("11010519491231002X", "440524188001010014", "510104199003071237")


def resident_id(born: date, sequence: int = 2, region: str = "110000") -> str:
    body = f"{region}{born:%Y%m%d}{sequence:03}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(one) * weight for one, weight in zip(body, weights, strict=True)) % 11]


@pytest.mark.feature("P1.2")
@pytest.mark.parametrize("number", VALID)
def test_published_numbers_are_valid(number):
    assert rules.fault_of_resident_id(number, TODAY) is None


@pytest.mark.feature("P1.2")
@pytest.mark.parametrize(
    ("number", "fault"),
    [
        ("412825199412252999", "身份证号校验位有误"),
        ("110105194912310021", "身份证号校验位有误"),
        ("11010519491231002", "身份证号须为18位"),
        ("1101051949123100２X", "身份证号须为18位"),
        ("11010519491231X02X", "身份证号须为18位"),
        (resident_id(date(1990, 1, 1), region="990000"), "身份证号的地区代码有误"),
        ("110105199002300021", "身份证号中的出生日期有误"),
        (resident_id(date(2026, 11, 3)), "身份证号中的出生日期晚于今天"),
    ],
)
def test_each_fault_of_a_number_is_named(number, fault):
    assert rules.fault_of_resident_id(number, TODAY) == fault


def test_somebody_born_today_has_a_number():
    assert rules.fault_of_resident_id(resident_id(TODAY), TODAY) is None


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 999), st.integers(0, 16), st.integers(1, 9))
def test_no_single_wrong_digit_goes_unnoticed(born, sequence, place, step):
    number = resident_id(born, sequence)
    wrong = number[:place] + str((int(number[place]) + step) % 10) + number[place + 1 :]
    assert rules.fault_of_resident_id(number, TODAY) is None
    assert rules.fault_of_resident_id(wrong, TODAY) is not None


def test_number_tells_birth_date_and_gender():
    assert [rules.born_by_number(one) for one in VALID] == ["1949-12-31", "1880-01-01", "1990-03-07"]
    assert [rules.gender_by_number(one) for one in VALID] == ["2", "1", "1"]


def test_numbers_typed_full_width_small_or_with_blanks_are_the_same():
    assert rules.normalise_number(" 1101０5 19491231002x ") == "11010519491231002X"


def identity(**changes):
    return {"id_type": "01", "id_number": VALID[0], "gender": "2", "birth_date": "1949-12-31"} | changes


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, set()),
        ({"gender": "1"}, {"gender"}),
        ({"birth_date": "1949-12-30"}, {"birth_date"}),
        ({"gender": "1", "birth_date": "1949-12-30"}, {"gender", "birth_date"}),
        ({"id_number": "123", "gender": "1"}, {"id_number"}),
        ({"id_type": "03", "id_number": "G12345678", "gender": "9"}, set()),
        ({"id_type": "03", "id_number": "G123"}, {"id_number"}),
        ({"id_type": "03", "id_number": "护照号码一二三"}, {"id_number"}),
        ({"id_type": "03", "id_number": "G12345678", "birth_date": "2026-11-03"}, {"birth_date"}),
    ],
)
def test_identity_must_hold_together(changes, fields):
    assert set(rules.faults_of_identity(identity(**changes), TODAY)) == fields


def test_what_a_resident_number_says_may_be_left_out():
    bare = {"id_type": "01", "id_number": VALID[0]}
    assert rules.complete(bare, TODAY) == bare | {"gender": "2", "birth_date": "1949-12-31"}
    for other in ({"id_type": "03", "id_number": VALID[0]}, {"id_type": "01", "id_number": "123"}):
        assert rules.complete(other, TODAY) == other


def test_only_resident_numbers_can_be_asked_of_the_register():
    assert rules.is_machine_checkable("01", VALID[0], TODAY)
    assert rules.is_machine_checkable("02", VALID[0], TODAY)
    assert not rules.is_machine_checkable("02", "412825199412252999", TODAY)
    assert not rules.is_machine_checkable("03", VALID[0], TODAY)


@pytest.mark.rule("R3-3")
@pytest.mark.parametrize(
    ("id_type", "number", "fields"),
    [
        ("01", resident_id(date(2008, 11, 2)), set()),
        ("01", resident_id(date(2008, 11, 3)), {"id_number"}),
        ("01", "412825199412252999", {"id_number"}),
        ("03", "G12345678", {"id_type"}),
    ],
)
def test_guardian_is_an_adult_with_a_resident_number(id_type, number, fields):
    assert set(rules.fault_of_guardian(id_type, number, TODAY)) == fields


def patient(state="verified", born="1990-01-01", guardian=None):
    verification = None if guardian is None else {"verification": {"state": guardian}}
    return {"verification": {"state": state}, "birth_date": born, "guardian": verification}


@pytest.mark.rule("R2-1")
@pytest.mark.parametrize("state", ["unverified", "failed", "manual_review"])
def test_nothing_but_a_match_lets_a_visit_be_submitted(state):
    assert rules.refusal_to_submit(patient(state), TODAY, Policy()) == "not_verified"
    assert rules.refusal_to_submit(patient(), TODAY, Policy()) is None


@pytest.mark.rule("R3-3")
@pytest.mark.parametrize(
    ("born", "guardian", "code"),
    [
        ("2012-11-03", None, "guardian_required"),
        ("2012-11-03", "manual_review", "guardian_required"),
        ("2012-11-03", "verified", None),
        ("2012-11-02", None, None),
    ],
)
def test_child_needs_a_verified_guardian_until_the_fourteenth_birthday(born, guardian, code):
    assert rules.refusal_to_submit(patient(born=born, guardian=guardian), TODAY, Policy()) == code
