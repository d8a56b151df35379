"""Who may be offered to patients, and which texts a patient must agree to: pure decisions over documents and a day."""

from collections.abc import Mapping
from datetime import date
from typing import Final, get_args

from core.compliance import age_on
from core.policy import Policy
from storage.doctors import Doctor, ServiceKind

SERVICES: Final[tuple[ServiceKind, ...]] = get_args(ServiceKind)

CONSULT_NOTICE: Final = "consult_notice"
SENSITIVE_DATA: Final = "sensitive_data"
CHILDREN: Final = "children"
CONSENT_NAMES: Final[Mapping[str, str]] = {
    CONSULT_NOTICE: "互联网咨询知情同意书",
    SENSITIVE_DATA: "敏感个人信息处理单独同意书",
    CHILDREN: "儿童个人信息处理规则",
}


def is_licensed(doctor: Doctor, today: date) -> bool:
    """The licence holds through the day it names (R2-8)."""
    return today <= date.fromisoformat(doctor["licence_valid_to"])


def may_practise(doctor: Doctor, today: date, policy: Policy) -> bool:
    """The person may serve patients here (R2-2, R2-8).

    Licence valid, enough years of independent practice, the consent of the institution where they are registered on
    file, and that institution ours or the further place of practice filed.
    """
    return (
        is_licensed(doctor, today)
        and age_on(doctor["practice_start"], today) >= policy.practice_years
        and bool(doctor["consent_document"])
        and (doctor["main_institution"] or doctor["multi_site_filed"])
    )


def offered_services(doctor: Doctor, today: date, policy: Policy) -> tuple[ServiceKind, ...]:
    """What patients may ask of this doctor today: switched on, with a fee in the hospital's bounds; () when nothing."""
    if not may_practise(doctor, today, policy):
        return ()
    return tuple(
        service
        for service in SERVICES
        if service in doctor["services"]
        and service in doctor["fees"]
        and policy.consult_fee_low <= doctor["fees"][service] <= policy.consult_fee_high
    )


def needed_consents(age: int, policy: Policy) -> frozenset[str]:
    """The kinds of texts that a submission for a patient of this age must carry (R3-1, R3-3, R3-4)."""
    always = frozenset({CONSULT_NOTICE, SENSITIVE_DATA})
    return always | {CHILDREN} if age < policy.child_years else always
