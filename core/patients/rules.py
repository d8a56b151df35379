"""Identity of patients and guardians: the resident ID number of GB 11643, relations, ages. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Final

# Visits and pages say these of patients; they are defined where every feature may reach them.
from core.compliance import ADULT_YEARS
from core.compliance import age_on as age_on
from core.compliance import mask_name as mask_name
from core.policy import Policy
from storage.patients import Patient

RESIDENT_ID: Final = "01"
# A household register (户口簿) carries the same number; for children it is often the only paper.
NUMBERED_LIKE_RESIDENTS: Final = frozenset({RESIDENT_ID, "02"})
ID_TYPES: Final = ("01", "02", "03", "04", "05", "06", "07", "99")
GENDERS: Final = ("0", "1", "2", "9")
MALE, FEMALE = "1", "2"
RELATIONS: Final = ("self", "child", "parent", "spouse", "sibling", "grandparent", "grandchild", "other")
GUARDIAN_RELATIONS: Final = ("father", "mother", "parent", "grandparent", "sibling", "other")

# What says who somebody is: a change of any of it ends the verification (R2-1).
IDENTITY: Final = ("name", "id_type", "id_number", "gender", "birth_date")

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS: Final = "10X98765432"
_REGIONS: Final = ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
_PROVINCES: Final = frozenset(str(code) for first, last in _REGIONS for code in range(first, last + 1))
_RESIDENT_FORM: Final = re.compile(r"[0-9]{17}[0-9X]")
_OTHER_FORM: Final = re.compile(r"[0-9A-Z()/-]{5,30}")


def normalise_number(number: str) -> str:
    """As it is kept and compared: half width, capital letters, no blanks."""
    return "".join(unicodedata.normalize("NFKC", number).upper().split())


def fault_of_resident_id(number: str, today: date) -> str | None:
    """What is wrong with a normalised resident ID number (GB 11643-1999); None when nothing is."""
    if not _RESIDENT_FORM.fullmatch(number):
        return "身份证号须为18位"
    if number[:2] not in _PROVINCES:
        return "身份证号的地区代码有误"
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return "身份证号中的出生日期有误"
    if born > today:
        return "身份证号中的出生日期晚于今天"
    check = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True)) % 11
    return None if number[17] == _CHECKS[check] else "身份证号校验位有误"


def born_by_number(number: str) -> str:
    """`YYYY-MM-DD` in a valid resident ID number."""
    return f"{number[6:10]}-{number[10:12]}-{number[12:14]}"


def gender_by_number(number: str) -> str:
    """GB/T 2261.1 code in a valid resident ID number: an odd 17th digit is male."""
    return MALE if int(number[16]) % 2 else FEMALE


def is_machine_checkable(id_type: str, id_number: str, today: date) -> bool:
    """Whether the public register of residents can be asked; all other papers wait for a person."""
    return id_type in NUMBERED_LIKE_RESIDENTS and fault_of_resident_id(id_number, today) is None


def faults_of_identity(identity: Mapping[str, str], today: date) -> dict[str, str]:
    """What is wrong with `id_type`, `id_number`, `gender`, `birth_date`, by field; {} when they hold together.

    `gender` and `birth_date` must be what a resident ID number says; other papers are checked by length only.
    """
    number, born = identity["id_number"], identity["birth_date"]
    if identity["id_type"] == RESIDENT_ID:
        fault = fault_of_resident_id(number, today)
        if fault is not None:
            return {"id_number": fault}
        faults = {}
        if born != born_by_number(number):
            faults["birth_date"] = "出生日期与身份证号不一致"
        if identity["gender"] != gender_by_number(number):
            faults["gender"] = "性别与身份证号不一致"
        return faults
    if not _OTHER_FORM.fullmatch(number):
        return {"id_number": "证件号码须为5至30位字母或数字"}
    return {"birth_date": "出生日期晚于今天"} if born > today.isoformat() else {}


def complete(identity: Mapping[str, str], today: date) -> dict[str, str]:
    """The identity with `gender` and `birth_date` taken from a valid resident ID number where they were not given."""
    filled = dict(identity)
    if identity["id_type"] == RESIDENT_ID and fault_of_resident_id(identity["id_number"], today) is None:
        filled.setdefault("birth_date", born_by_number(identity["id_number"]))
        filled.setdefault("gender", gender_by_number(identity["id_number"]))
    return filled


def fault_of_guardian(id_type: str, id_number: str, today: date) -> dict[str, str]:
    """What is wrong with a guardian's paper, by field: an adult's valid resident ID is needed to verify one (R3-3)."""
    if id_type != RESIDENT_ID:
        return {"id_type": "监护人须使用居民身份证认证"}
    fault = fault_of_resident_id(id_number, today)
    if fault is None and age_on(born_by_number(id_number), today) < ADULT_YEARS:
        fault = f"监护人须年满{ADULT_YEARS}周岁"
    return {} if fault is None else {"id_number": fault}


def is_child(birth_date: str, today: date, policy: Policy) -> bool:
    """Below the age at which a guardian is needed (R3-3)."""
    return age_on(birth_date, today) < policy.child_years


def refusal_to_submit(patient: Patient, today: date, policy: Policy) -> str | None:
    """The code by which a visit for this patient is refused; None when it may be submitted.

    Only a check that answered MATCH verifies (R2-1); a child also needs a guardian verified the same way (R3-3).
    """
    if patient["verification"]["state"] != "verified":
        return "not_verified"
    if not is_child(patient["birth_date"], today, policy):
        return None
    guardian = patient["guardian"]
    verified = guardian is not None and guardian["verification"]["state"] == "verified"
    return None if verified else "guardian_required"
