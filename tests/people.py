"""Shortcuts into the middle of the story, for journeys that begin there."""

import secrets
from typing import Any

from app.serving import Process
from core.ids import new_id
from scripts.acting import Person
from scripts.demo import DEMO_PASSWORDS
from scripts.story import (
    CONSENTED,
    Stage,
    doctor_accepts,
    doctor_logs_in,
    patient_adds_a_family_member,
    patient_describes_the_illness,
    patient_finds_the_doctor,
    patient_logs_in,
    patient_pays,
    patient_uploads_pictures,
)
from tests.hospital import TestHospital

DOCTOR = "guhuaijin"
OTHER_DOCTOR = "luzhengqian"


def new_phone() -> str:
    """A number nobody else in the run has."""
    return f"1997{secrets.randbelow(10_000_000):07d}"


def somebody(hospital: TestHospital, process: Process) -> Person:
    """A new patient of one of the hospital's processes, with a token that was issued without a login."""
    person = Person(hospital.http, f"http://127.0.0.1:{process.port}")
    person.token = process.ctx.tokens.issue(
        account=new_id(),
        role="patient",
        audience="patient",
        session=new_id(),
        epoch=0,
        now=process.ctx.clock.now(),
        seconds=900,
    )
    return person


def stage_of(hospital: TestHospital, *, doctor: str = DOCTOR) -> Stage:
    """Two people who are not yet logged in; the patient is new."""
    stage = Stage(hospital.http, hospital.url, hospital.outside, doctor, DEMO_PASSWORDS["doctor"])
    stage.found["phone"] = new_phone()
    return stage


async def submitted(hospital: TestHospital, **who: Any) -> Stage:
    """Up to the order that awaits its payment."""
    stage = stage_of(hospital, **who)
    for step in (
        patient_logs_in,
        doctor_logs_in,
        patient_finds_the_doctor,
        patient_adds_a_family_member,
        patient_uploads_pictures,
        patient_describes_the_illness,
    ):
        await step(stage)
    return stage


async def waiting(hospital: TestHospital, **who: Any) -> Stage:
    """Up to the paid visit that waits for the doctor; both have a socket open."""
    stage = await submitted(hospital, **who)
    await patient_pays(stage)
    return stage


async def in_progress(hospital: TestHospital, **who: Any) -> Stage:
    """Up to the accepted visit."""
    stage = await waiting(hospital, **who)
    await doctor_accepts(stage)
    return stage


async def visit_form(stage: Stage, **changes: Any) -> dict[str, Any]:
    """A body of POST /visits that would be taken, with these changes."""
    types = await stage.patient.get("/consult-types")
    texts = [await stage.patient.get(f"/consent-texts/{kind}") for kind in CONSENTED]
    form: dict[str, Any] = {
        "kind": "consult",
        "doctor_id": stage.found["doctor"]["id"],
        "patient_id": stage.found["patient"]["id"],
        "consult_type_id": types["items"][0]["id"],
        "condition": {"description": "头痛两天"},
        "attachments": [],
        "consents": [{"kind": text["kind"], "version": text["version"]} for text in texts],
    }
    return {**form, **changes}


def fresh_key() -> str:
    """An Idempotency-Key."""
    return secrets.token_hex(16)
