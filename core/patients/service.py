"""Patients (就诊人): the people an account asks for, sealed by field, verified by the public register, kept."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from core import outbox
from core.auth import Caller
from core.compliance import age_on, years_later
from core.errors import Conflict, Invalid, NotFound
from core.ids import china_today, new_id
from core.patients import rules, verification
from core.patients.verification import UNVERIFIED
from storage.patients import Patient, PatientTaken

if TYPE_CHECKING:
    from core.context import Context

SEALED: Final = ("name", "id_number", "phone")
# Tries against others who add or change at the same moment; each loser has seen somebody win.
TRIES: Final = 5


async def listed(ctx: "Context", *, caller: Caller) -> list[dict[str, Any]]:
    """The caller's patients, opened, newest first."""
    return [opened(ctx, patient) for patient in await ctx.patients.listed_of(caller.id)]


async def require_own(ctx: "Context", caller: Caller, patient_id: str) -> Patient:
    """The caller's patient; `NotFound` when removed, unknown or somebody else's."""
    patient = await ctx.patients.get(patient_id)
    if patient is None or patient["account_id"] != caller.id or patient["removed_at"] is not None:
        raise NotFound
    return patient


async def require_submittable(ctx: "Context", caller: Caller, patient_id: str) -> Patient:
    """The caller's patient, for whom a visit may be submitted.

    `NotFound` unless listed and the caller's, `not_verified` (R2-1), `guardian_required` for a child without a
    verified guardian (R3-3).
    """
    patient = await require_own(ctx, caller, patient_id)
    code = rules.refusal_to_submit(patient, china_today(ctx.clock), ctx.policy)
    if code is not None:
        raise Conflict(code=code)
    return patient


async def retain(ctx: "Context", patient_id: str, until: datetime) -> None:
    """Keep the record, removed or not, at least as long as a visit that refers to it (R5-1)."""
    await ctx.patients.retain(patient_id, until)


async def add(ctx: "Context", *, caller: Caller, form: Mapping[str, str]) -> Patient:
    """A new patient, not yet verified.

    `Invalid` naming the field when the identity does not hold together, `duplicate` for an ID the account has listed
    and for a second `self`, `limit_reached` beyond the policy's number.
    """
    now = ctx.clock.now()
    identity = _checked({**form, "id_number": rules.normalise_number(form["id_number"])}, china_today(ctx.clock))
    for _ in range(TRIES):
        others = await ctx.patients.listed_of(caller.id)
        keys = _keys(ctx, caller.id, identity)
        _require_place(others, keys)
        slot = _free_slot(others, ctx.policy.patients_per_account)
        patient = Patient(
            _id=new_id(),
            account_id=caller.id,
            name=_seal(ctx, identity, "name"),
            id_type=identity["id_type"],
            id_number=_seal(ctx, identity, "id_number"),
            gender=identity["gender"],
            birth_date=identity["birth_date"],
            phone=_seal(ctx, identity, "phone"),
            relation=identity["relation"],
            verification=UNVERIFIED,
            guardian=None,
            slot=slot,
            id_index=keys["id_index"],
            self_of=keys["self_of"],
            removed_at=None,
            retain_until=years_later(now, ctx.policy.retain_record_years),
            version=1,
            created_at=now,
            updated_at=now,
            history=[outbox.entry(caller.actor, "create", frm="unverified", to="unverified", at=now)],
        )
        try:
            await ctx.patients.add(patient)
        except PatientTaken:
            continue  # somebody took the place, or added the same person: the list says which
        return patient
    raise Conflict


async def change(ctx: "Context", *, caller: Caller, patient_id: str, form: Mapping[str, Any]) -> Patient:
    """Change what was given; any part of the identity changed ends the verification (R2-1).

    `conflict` when `form["version"]` is not the patient's any more or somebody changes it at the same moment; refuses
    otherwise like `add`. Visits keep the patient as they were.
    """
    patient = await require_own(ctx, caller, patient_id)
    if form.get("version", patient["version"]) != patient["version"]:
        raise Conflict
    today, now = china_today(ctx.clock), ctx.clock.now()
    before = _plain(ctx, patient)
    given = {name: value for name, value in form.items() if name in before}
    if "id_number" in given:
        given["id_number"] = rules.normalise_number(given["id_number"])
    kept = {name: value for name, value in before.items() if name not in _follows(before, given)}
    after = _checked({**kept, **given}, today)
    values = _values(ctx, before, after)
    if not values:
        return patient
    keys = _keys(ctx, caller.id, after)
    others = [one for one in await ctx.patients.listed_of(caller.id) if one["_id"] != patient_id]
    _require_place(others, keys)
    state = patient["verification"]["state"]
    if any(name in values for name in rules.IDENTITY):
        values["verification"] = UNVERIFIED
    to = values.get("verification", patient["verification"])["state"]
    entry = outbox.entry(caller.actor, "edit", frm=state, to=to, at=now)
    try:
        changed = await ctx.patients.change(
            patient_id, seen_version=patient["version"], values=values | keys, entries=[entry], at=now
        )
    except PatientTaken as error:
        raise Conflict(code="duplicate") from error
    if not changed:
        raise Conflict
    return await require_own(ctx, caller, patient_id)


async def remove(ctx: "Context", *, caller: Caller, patient_id: str) -> None:
    """Take the patient off the list. The record stays while the law keeps it, and visits still read it (R5-1)."""
    for _ in range(TRIES):
        patient = await require_own(ctx, caller, patient_id)
        now = ctx.clock.now()
        state = patient["verification"]["state"]
        removed = await ctx.patients.change(
            patient_id,
            seen_version=patient["version"],
            values={"removed_at": now, "slot": None, "id_index": None, "self_of": None},
            entries=[outbox.entry(caller.actor, "remove", frm=state, to=state, at=now)],
            at=now,
        )
        if removed:
            return
    raise Conflict


async def verify(ctx: "Context", *, caller: Caller, patient_id: str) -> Patient:
    """The patient after the real-name check; refuses like `verification.verify_patient`."""
    patient = await require_own(ctx, caller, patient_id)
    if not await verification.verify_patient(ctx, caller=caller, patient=patient):
        return patient
    return await require_own(ctx, caller, patient_id)


async def set_guardian(ctx: "Context", *, caller: Caller, patient_id: str, form: Mapping[str, str]) -> Patient:
    """The child with the checked guardian; refuses like `verification.set_guardian`."""
    patient = await require_own(ctx, caller, patient_id)
    await verification.set_guardian(ctx, caller=caller, patient=patient, form=form)
    return await require_own(ctx, caller, patient_id)


def opened(ctx: "Context", patient: Patient) -> dict[str, Any]:
    """The patient with its sealed fields in plain text, for a schema that masks them."""
    today = china_today(ctx.clock)
    guardian = patient["guardian"]
    shown_guardian = guardian and {
        **guardian,
        **{name: ctx.cipher.open(guardian[name], field=f"patient.guardian.{name}") for name in SEALED},
    }
    return {
        **patient,
        **_plain(ctx, patient),
        "id": patient["_id"],
        "age": age_on(patient["birth_date"], today),
        "guardian_required": rules.is_child(patient["birth_date"], today, ctx.policy),
        "guardian": shown_guardian,
    }


def _plain(ctx: "Context", patient: Patient) -> dict[str, str]:
    return {
        "name": ctx.cipher.open(patient["name"], field="patient.name"),
        "id_type": patient["id_type"],
        "id_number": ctx.cipher.open(patient["id_number"], field="patient.id_number"),
        "gender": patient["gender"],
        "birth_date": patient["birth_date"],
        "phone": ctx.cipher.open(patient["phone"], field="patient.phone"),
        "relation": patient["relation"],
    }


def _seal(ctx: "Context", plain: Mapping[str, str], name: str) -> str:
    return ctx.cipher.seal(plain[name], field=f"patient.{name}")


def _checked(identity: Mapping[str, str], today: date) -> dict[str, str]:
    filled = rules.complete(identity, today)
    faults = rules.faults_of_identity({"gender": "", "birth_date": "", **filled}, today)
    if faults:
        raise Invalid(next(iter(faults.values())), errors={field: [said] for field, said in faults.items()})
    return filled


def _follows(before: Mapping[str, str], given: Mapping[str, str]) -> set[str]:
    """What a new resident ID number says itself, unless it is given: the old values must not contradict it."""
    if "id_number" in given and given.get("id_type", before["id_type"]) == rules.RESIDENT_ID:
        return {"gender", "birth_date"} - set(given)
    return set()


def _values(ctx: "Context", before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    changed = [name for name in before if after[name] != before[name]]
    return {name: _seal(ctx, after, name) if name in SEALED else after[name] for name in changed}


def _keys(ctx: "Context", account: str, identity: Mapping[str, str]) -> dict[str, str | None]:
    """What stands behind the unique indexes of a listed patient."""
    return {
        "id_index": ctx.cipher.blind(identity["id_number"], field="patient.id_number"),
        "self_of": account if identity["relation"] == "self" else None,
    }


def _require_place(others: list[Patient], keys: Mapping[str, str | None]) -> None:
    if any(one["id_index"] == keys["id_index"] for one in others):
        raise Conflict("该证件号码的就诊人已添加", code="duplicate", errors={"id_number": ["该证件号码的就诊人已添加"]})
    if keys["self_of"] is not None and any(one["self_of"] == keys["self_of"] for one in others):
        raise Conflict("本人只能添加一位", code="duplicate", errors={"relation": ["本人只能添加一位"]})


def _free_slot(others: list[Patient], most: int) -> str:
    taken = {one["slot"] for one in others}
    free = [slot for slot in (f"{number:02}" for number in range(most)) if slot not in taken]
    if len(others) >= most or not free:
        raise Conflict(f"最多可添加 {most} 位就诊人", code="limit_reached")
    return free[0]
