"""The life of a call as a table, and what the state of its two legs means for it. Pure.

ringing → connecting → active ⇄ reconnecting → ended
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.policy import Policy
from storage.calls import Call, Leg, LegState, Reason, Side, Status

PATIENT: Final = frozenset({"patient"})
DOCTOR: Final = frozenset({"doctor"})
WORKER: Final = frozenset({"system"})

SIDES: Final[tuple[Side, ...]] = ("doctor", "patient")
LIVE: Final[frozenset[Status]] = frozenset({"ringing", "connecting", "active", "reconnecting"})
# Where media may be set up: before the patient has answered, and agreed to be recorded, there is none.
ANSWERED: Final[frozenset[Status]] = LIVE - {"ringing"}


@dataclass(frozen=True)
class Step:
    """One legal change of a call: who, from where, to where, and the reason of an end."""

    roles: frozenset[str]
    frm: tuple[Status, ...]
    to: Status
    reason: Reason | None = None


STEPS: Final[Mapping[str, Step]] = {
    "accept": Step(PATIENT, ("ringing",), "connecting"),
    "decline": Step(PATIENT, ("ringing",), "ended", "declined"),
    "cancel": Step(DOCTOR, ("ringing", "connecting"), "ended", "cancelled"),
    "hangup": Step(DOCTOR | PATIENT, ("connecting", "active", "reconnecting"), "ended", "hangup"),
    "connect": Step(WORKER, ("connecting",), "active"),
    "drop": Step(WORKER, ("active",), "reconnecting"),
    "resume": Step(WORKER, ("reconnecting",), "active"),
    "miss": Step(WORKER, ("ringing",), "ended", "missed"),
    "fail": Step(WORKER, ("connecting",), "ended", "failed"),
    "lose": Step(WORKER, ("active", "reconnecting"), "ended", "lost"),
    "stop": Step(WORKER, ("active",), "ended", "hangup"),
    "close": Step(WORKER, ("ringing", "connecting", "active", "reconnecting"), "ended", "visit_ended"),
}

# What is done when the deadline of a state has come.
AT_DEADLINE: Final[Mapping[Status, str]] = {
    "ringing": "miss",
    "connecting": "fail",
    "active": "stop",
    "reconnecting": "lose",
}


def deadline_of(status: Status, now: datetime, started_at: datetime | None, policy: Policy) -> datetime | None:
    """When a call that enters `status` is moved on by the worker; None: it has ended."""
    seconds = {
        "ringing": policy.call_ring_seconds,
        "connecting": policy.call_setup_seconds,
        "reconnecting": policy.call_reconnect_seconds,
    }
    if status in seconds:
        return now + timedelta(seconds=seconds[status])
    return None if status == "ended" else (started_at or now) + timedelta(seconds=policy.call_longest_seconds)


def is_overdue(call: Call, now: datetime) -> bool:
    """Whether a deadline has come that nobody has acted on yet."""
    return call["status"] in LIVE and call["deadline_at"] is not None and call["deadline_at"] <= now


def side_of(call: Call, account: str) -> Side | None:
    """Which of the two this account is; None: neither."""
    return {call["doctor_id"]: SIDES[0], call["patient_account"]: SIDES[1]}.get(account)


def members_of(call: Call) -> list[str]:
    """The accounts of the two."""
    return [call["doctor_id"], call["patient_account"]]


def no_legs() -> dict[Side, Leg]:
    """The legs of a call before any offer."""
    return {side: Leg(state="none", generation=0) for side in SIDES}


def with_leg(legs: Mapping[Side, Leg], side: Side, generation: int, state: LegState) -> dict[Side, Leg] | None:
    """The legs after one has changed; None when nothing changes, or what is told is of a leg since replaced.

    A leg begins to connect once: an offer that comes again gets its answer again and changes nothing.
    """
    present = legs[side]
    is_repeated = generation == present["generation"] and state in ("connecting", present["state"])
    if generation < present["generation"] or is_repeated:
        return None
    return {**legs, side: Leg(state=state, generation=generation)}


def without_media(legs: Mapping[Side, Leg]) -> dict[Side, Leg]:
    """The legs after the process that held them is gone: what there was must be offered anew."""
    return {
        side: Leg(state="lost" if leg["generation"] else "none", generation=leg["generation"])
        for side, leg in legs.items()
    }


def act_of(status: Status, legs: Mapping[Side, Leg]) -> str | None:
    """What the state of the legs makes of the call; None: it stays as it is."""
    both = all(leg["state"] == "connected" for leg in legs.values())
    if both:
        return {"connecting": "connect", "reconnecting": "resume"}.get(status)
    return "drop" if status == "active" else None
