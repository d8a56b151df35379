"""The table of visit moves (protocol, "Visit moves") and the pure decisions around a visit.

A consultation (`consult`) has no move towards a diagnosis or a prescription: health advice is not treatment (R1-8).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from core.policy import Policy
from storage.moves import HistoryEntry
from storage.visits import Status, Visit

Settlement = Literal["never", "always", "when_asked"]


@dataclass(frozen=True)
class Move:
    """One legal change of a visit: who, from where, to where, and what becomes of its order."""

    roles: frozenset[str]
    frm: tuple[Status, ...]
    to: Status
    settles: Settlement = "never"


PATIENT: Final = frozenset({"patient"})
DOCTOR: Final = frozenset({"doctor"})
WORKER: Final = frozenset({"system"})

MOVES: Final[Mapping[str, Move]] = {
    "submit": Move(WORKER, ("pending_payment",), "waiting"),
    "expire": Move(WORKER, ("pending_payment",), "expired", "always"),
    "cancel": Move(PATIENT, ("pending_payment", "waiting"), "cancelled", "always"),
    "accept": Move(DOCTOR, ("waiting",), "in_progress"),
    "decline": Move(DOCTOR | WORKER, ("waiting",), "declined", "always"),
    "complete": Move(DOCTOR | WORKER, ("in_progress",), "completed"),
    "terminate": Move(DOCTOR, ("in_progress",), "terminated", "when_asked"),
    "refund": Move(DOCTOR, ("waiting", "in_progress"), "refunded", "always"),
}

ENDED: Final[frozenset[Status]] = frozenset({"completed", "terminated", "cancelled", "declined", "expired", "refunded"})
RATEABLE: Final[frozenset[Status]] = frozenset({"completed", "terminated"})
# Reasons of a termination (R1-4); a visit judged a first visit is always given back in full.
TERMINATION_REASONS: Final = ("CONDITION_CHANGED", "JUDGED_FIRST_VISIT", "UNSUITABLE", "EMERGENCY")
ALWAYS_REFUNDED: Final = frozenset({"JUDGED_FIRST_VISIT"})

# What the chat is told at each move. The key is the act in the history.
ANNOUNCEMENTS: Final[Mapping[str, str]] = {
    "submit": "咨询已提交，请等待医生接诊",
    "accept": "医生已接诊，可以开始沟通",
    "cancel": "患者已取消咨询",
    "decline": "医生未能接诊",
    "complete": "本次咨询已结束",
    "terminate": "医生已终止本次咨询，并建议到医院就诊",
    "refund": "医生已退还本次费用",
}
# Said after these acts of a visit that costs something.
MONEY_COMES_BACK: Final = "，款项将原路退回"
_GIVING_BACK: Final = frozenset({"decline", "refund"})


def announcement(act: str, fee: int) -> str | None:
    """What the chat is told of an act; None: nothing."""
    said = ANNOUNCEMENTS.get(act)
    return said + MONEY_COMES_BACK if said and fee and act in _GIVING_BACK else said


def deadline_of(status: Status, now: datetime, policy: Policy) -> datetime | None:
    """When a visit that enters `status` is moved on by the worker; None: never."""
    seconds = {
        "pending_payment": policy.visit_unpaid_seconds,
        "waiting": policy.visit_unanswered_seconds,
        "in_progress": policy.visit_silent_seconds,
    }.get(status)
    return None if seconds is None else now + timedelta(seconds=seconds)


def settles(move: Move, *, reason: str | None, refund_asked: bool) -> bool:
    """Whether the order is closed or given back with this move."""
    if move.settles == "when_asked":
        return refund_asked or reason in ALWAYS_REFUNDED
    return move.settles == "always"


def changes_desk(step: HistoryEntry) -> bool:
    """Whether this step brought a visit among those that wait or are in progress, or away from there."""
    return step["act"] == "submit" or (step["frm"] != step["to"] and step["frm"] in ("waiting", "in_progress"))


def is_refundable_after_end(visit: Visit, now: datetime, policy: Policy) -> bool:
    """A completed visit may still be given back for a while; it stays completed."""
    ended = visit["ended_at"]
    if visit["status"] != "completed" or ended is None:
        return False
    return now <= ended + timedelta(seconds=policy.refund_after_completion_seconds)


def is_rateable(visit: Visit, now: datetime, policy: Policy) -> bool:
    """Completed and terminated visits may be rated for a while (R6-9)."""
    ended = visit["ended_at"]
    if visit["status"] not in RATEABLE or ended is None:
        return False
    return now <= ended + timedelta(seconds=policy.rating_seconds)


def may_read(visit: Visit, account: str) -> bool:
    """The two who take part; for the doctor there is no visit before it has been paid for."""
    return account in readers_of(visit)


def readers_of(visit: Visit) -> list[str]:
    """Whom a visit concerns now."""
    patient, doctor = visit["patient_account"], visit["doctor_id"]
    return [patient] if visit["submitted_at"] is None else [patient, doctor]
