"""Who of the administrators may do what to whom, and which numbers may be set: decided without asking anyone.

R6-3 keeps three administrators apart: `admin` runs the hospital and its staff, `security_admin` keeps the
administrators' own accounts, roles, lock-outs, second factors and sessions, `auditor` watches both and changes nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, Final, Literal

from core.auth import STAFF_ROLES, Caller
from core.compliance import RULES
from core.errors import Forbidden, Invalid
from core.policy import Policy

ADMINISTRATORS: Final = frozenset({"admin", "security_admin", "auditor"})
WORKERS: Final = STAFF_ROLES - ADMINISTRATORS

Act = Literal["create", "describe", "password", "status", "role", "unlock", "second_factor", "sessions"]

# Act → who may do it → to accounts of which roles.
MAY: Final[Mapping[Act, Mapping[str, frozenset[str]]]] = {
    "create": {"admin": WORKERS, "security_admin": ADMINISTRATORS},
    "describe": {"admin": WORKERS, "security_admin": ADMINISTRATORS},
    "password": {"admin": WORKERS, "security_admin": ADMINISTRATORS},
    "status": {"admin": WORKERS, "security_admin": STAFF_ROLES},
    "role": {"security_admin": STAFF_ROLES},
    "unlock": {"security_admin": STAFF_ROLES},
    "second_factor": {"security_admin": STAFF_ROLES},
    "sessions": {"security_admin": STAFF_ROLES},
}
# What nobody does to their own account: nobody grants themselves anything, or shuts the last door behind them.
NOT_TO_ONESELF: Final[frozenset[Act]] = frozenset({"password", "status", "role", "unlock", "second_factor"})

# Fields of an account of which a change asks for a fresh proof (R6-4): what it may do, and the phone it logs in with.
DANGEROUS: Final = frozenset({"role", "phone"})


def require_may(caller: Caller, act: Act, *, role: str, account_id: str | None = None) -> None:
    """`Forbidden` unless the caller may do this to an account of this role (R6-3)."""
    if role not in MAY[act].get(caller.role, frozenset()):
        raise Forbidden("三员分立：您的角色不能对该账号进行此操作")
    if account_id == caller.id and act in NOT_TO_ONESELF:
        raise Forbidden("不能对本人的账号进行此操作")


# --- the hospital's numbers -------------------------------------------------------------------------------------------

NUMBERS: Final[Mapping[str, Field[Any]]] = {one.name: one for one in fields(Policy)}
_RULE_ID: Final = re.compile(r"R\d-\d+")


def rule_of(name: str) -> str | None:
    """The legal rule that bounds a number, if one does."""
    found = _RULE_ID.search(NUMBERS[name].metadata["meaning"])
    return found.group() if found else None


def require_settable(values: Mapping[str, int | None]) -> None:
    """`Invalid` naming every number that does not exist, is read only at a start, or lies outside its bounds."""
    faults: dict[str, list[str]] = {}
    for name, value in values.items():
        one = NUMBERS.get(name)
        if one is None:
            faults[name] = ["没有这项设置"]
        elif one.metadata["fixed"]:
            faults[name] = ["此项只能通过环境变量设置，重启后生效"]
        elif value is not None and not one.metadata["low"] <= value <= one.metadata["high"]:
            faults[name] = [_out_of_bounds(name)]
    if faults:
        raise Invalid(next(iter(faults.values()))[0], errors=faults)


def require_consistent(policy: Policy) -> None:
    """`Invalid` when numbers contradict each other."""
    if policy.consult_fee_low > policy.consult_fee_high:
        raise Invalid.field("consult_fee_low", "最低咨询费不能高于最高咨询费")


def _out_of_bounds(name: str) -> str:
    bounds, rule = NUMBERS[name].metadata, rule_of(name)
    said = f"须在 {bounds['low']} 至 {bounds['high']} 之间"
    if rule is None:
        return said
    known = RULES.get(rule)
    return f"{said}（{rule}{f'：{known.sentence}' if known else ''}）"
