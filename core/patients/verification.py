"""The real-name check of patients and guardians: only an answer that says MATCH ever counts (R2-1)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from core import outbox
from core.auth import Caller
from core.errors import Conflict, Invalid, ServiceUnavailable
from core.ids import china_today
from core.patients import rules
from core.ports import Rejected, Verdict
from storage.patients import Guardian, Patient, Verification, VerificationState

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

UNVERIFIED: Final[Verification] = {"state": "unverified", "provider": None, "serial": None, "at": None}
# What each verdict makes of somebody. A register without a record may be behind: a person looks.
STATES: Final[Mapping[Verdict, VerificationState]] = {
    Verdict.MATCH: "verified",
    Verdict.MISMATCH: "failed",
    Verdict.INVALID: "failed",
    Verdict.NO_RECORD: "manual_review",
}


async def check(ctx: "Context", name: str, id_number: str) -> Verification:
    """Ask the register once and keep what it said: state, provider, serial number, time.

    An outage, or an account of ours that the provider refuses, is `unavailable` and never an answer about the person.
    """
    try:
        answer = await ctx.identity.verify(name, id_number)
    except Rejected as error:
        log.error("identity.rejected", code=error.code)
        raise ServiceUnavailable from error
    return Verification(
        state=STATES[answer.verdict], provider=answer.provider, serial=answer.serial, at=ctx.clock.now()
    )


async def verify_patient(ctx: "Context", *, caller: Caller, patient: Patient) -> bool:
    """Check the patient's name and number and store the outcome.

    A match is kept: once verified nobody is asked again. `verification_failed` when the register says no (stored as
    `failed`), `unavailable` when it does not answer (nothing stored), `conflict` when the patient was edited meanwhile.
    Papers the register does not know go to a person (`manual_review`) without asking. False: there was nothing to do.
    """
    if patient["verification"]["state"] == "verified":
        return False
    number = ctx.cipher.open(patient["id_number"], field="patient.id_number")
    if rules.is_machine_checkable(patient["id_type"], number, china_today(ctx.clock)):
        outcome = await check(ctx, ctx.cipher.open(patient["name"], field="patient.name"), number)
    else:
        outcome = Verification(state="manual_review", provider=None, serial=None, at=ctx.clock.now())
    now = ctx.clock.now()
    frm = patient["verification"]["state"]
    stored = await ctx.patients.change(
        patient["_id"],
        seen_version=patient["version"],
        values={"verification": outcome},
        entries=[outbox.entry(caller.actor, "verify", frm=frm, to=outcome["state"], at=now)],
        at=now,
    )
    if outcome["state"] == "failed":
        raise Conflict(code="verification_failed")
    return stored or await _verified_meanwhile(ctx, patient["_id"])


async def _verified_meanwhile(ctx: "Context", patient_id: str) -> bool:
    """Two taps on the same button ask twice and both see the match; any other change in between is a conflict."""
    current = await ctx.patients.get(patient_id)
    if current is None or current["verification"]["state"] != "verified":
        raise Conflict
    return True


async def set_guardian(ctx: "Context", *, caller: Caller, patient: Patient, form: Mapping[str, str]) -> None:
    """Check an adult's name and number and store them as the child's guardian (R3-3).

    `Invalid` for a patient old enough to need none and for a guardian who is no adult with a resident ID;
    `verification_failed` when the register says no and `unavailable` when it does not answer, the guardian before
    staying as they were; `conflict` when the patient was edited meanwhile. Without a record the guardian is stored for
    a person to look at, and does not count.
    """
    today, now = china_today(ctx.clock), ctx.clock.now()
    if not rules.is_child(patient["birth_date"], today, ctx.policy):
        raise Invalid(f"仅未满{ctx.policy.child_years}周岁的就诊人需要登记监护人")
    number = rules.normalise_number(form["id_number"])
    faults = rules.fault_of_guardian(form["id_type"], number, today)
    if faults:
        raise Invalid(next(iter(faults.values())), errors={field: [said] for field, said in faults.items()})
    before = patient["guardian"]
    outcome = _known(ctx, before, form["name"], number) or await check(ctx, form["name"], number)
    if outcome["state"] == "failed":
        raise Conflict("监护人实名认证未通过", code="verification_failed")
    guardian = Guardian(
        name=ctx.cipher.seal(form["name"], field="patient.guardian.name"),
        id_type=form["id_type"],
        id_number=ctx.cipher.seal(number, field="patient.guardian.id_number"),
        phone=ctx.cipher.seal(form["phone"], field="patient.guardian.phone"),
        relation=form["relation"],
        verification=outcome,
    )
    frm = before["verification"]["state"] if before else "unverified"
    stored = await ctx.patients.change(
        patient["_id"],
        seen_version=patient["version"],
        values={"guardian": guardian},
        entries=[outbox.entry(caller.actor, "guardian", frm=frm, to=outcome["state"], at=now)],
        at=now,
    )
    if not stored:
        raise Conflict


def _known(ctx: "Context", guardian: Guardian | None, name: str, number: str) -> Verification | None:
    """The verification of the guardian there is, when it is the same verified person."""
    if guardian is None or guardian["verification"]["state"] != "verified":
        return None
    same = (
        ctx.cipher.open(guardian["name"], field="patient.guardian.name") == name
        and ctx.cipher.open(guardian["id_number"], field="patient.guardian.id_number") == number
    )
    return guardian["verification"] if same else None
