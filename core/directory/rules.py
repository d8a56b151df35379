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
CALL_RECORDING: Final = "call_recording"
CONSENT_NAMES: Final[Mapping[str, str]] = {
    CONSULT_NOTICE: "互联网咨询知情同意书",
    SENSITIVE_DATA: "敏感个人信息处理单独同意书",
    CHILDREN: "儿童个人信息处理规则",
    CALL_RECORDING: "音视频通话录制告知与同意书",
}

# Why a doctor is not offered, as the back office reads it.
BARS: Final[Mapping[str, str]] = {
    "suspended": "账号已停用或不再是医师",
    "licence_expired": "执业证书已过有效期（R2-8）",
    "practice_too_short": "独立执业年限不足（R2-2）",
    "no_consent": "缺少主执业机构同意文件（R2-2）",
    "not_filed": "未办理多机构备案（R2-2）",
    "no_service": "未开通任何服务，或医生已全部关闭",
    "no_fee": "已开通的服务没有在医院价格范围内的定价（R6-8）",
}


def is_licensed(doctor: Doctor, today: date) -> bool:
    """The licence holds through the day it names (R2-8)."""
    return today <= date.fromisoformat(doctor["licence_valid_to"])


def may_practise(doctor: Doctor, today: date, policy: Policy) -> bool:
    """The person may serve patients here (R2-2, R2-8).

    Licence valid, enough years of independent practice, the consent of the institution where they are registered on
    file, and that institution ours or the further place of practice filed; and they are still on the staff.
    """
    return not _bars_to_practice(doctor, today, policy)


def bars(doctor: Doctor, today: date, policy: Policy) -> list[str]:
    """Why patients may ask this doctor for nothing today, one code of `BARS` a reason; [] when they may."""
    found = _bars_to_practice(doctor, today, policy)
    if not services_on(doctor):
        found.append("no_service")
    elif not any(_is_priced(doctor, service, policy) for service in services_on(doctor)):
        found.append("no_fee")
    return found


def _bars_to_practice(doctor: Doctor, today: date, policy: Policy) -> list[str]:
    holds = {
        "suspended": not doctor.get("suspended", False),
        "licence_expired": is_licensed(doctor, today),
        "practice_too_short": age_on(doctor["practice_start"], today) >= policy.practice_years,
        "no_consent": bool(doctor["consent_document"]),
        "not_filed": doctor["main_institution"] or doctor["multi_site_filed"],
    }
    return [code for code, fine in holds.items() if not fine]


def _is_priced(doctor: Doctor, service: ServiceKind, policy: Policy) -> bool:
    return service in doctor["fees"] and policy.consult_fee_low <= doctor["fees"][service] <= policy.consult_fee_high


def services_on(doctor: Doctor) -> tuple[ServiceKind, ...]:
    """What the hospital grants and the doctor has not turned off."""
    paused = doctor.get("paused", [])
    return tuple(service for service in SERVICES if service in doctor["services"] and service not in paused)


def offered_services(doctor: Doctor, today: date, policy: Policy) -> tuple[ServiceKind, ...]:
    """What patients may ask of this doctor today: switched on, with a fee in the hospital's bounds; () when nothing."""
    if not may_practise(doctor, today, policy):
        return ()
    return tuple(service for service in services_on(doctor) if _is_priced(doctor, service, policy))


def needed_consents(age: int, policy: Policy) -> frozenset[str]:
    """The kinds of texts that a submission for a patient of this age must carry (R3-1, R3-3, R3-4)."""
    always = frozenset({CONSULT_NOTICE, SENSITIVE_DATA})
    return always | {CHILDREN} if age < policy.child_years else always
