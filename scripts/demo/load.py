"""Writes the demonstration hospital into the stores, through the services where people would, once.

Every step leaves alone what is there, so that a load that was cut off is simply run again; when it has been run to its
end once, it does nothing any more, and whatever was edited since stays as it is.
"""

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final

import structlog

from core.accounts import service as accounts
from core.auth import SYSTEM, Caller
from core.backoffice import service as backoffice
from core.directory import rules
from core.directory import service as directory
from core.errors import Conflict, refusal_of
from core.ids import CHINA, china_today
from core.patients import service as patients
from scripts.demo import DEMO_PASSWORDS, read
from storage.departments import Department
from storage.doctors import Doctor
from storage.hospitals import HOSPITAL_ID, Hospital
from storage.versions import VersionRepository

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

GROUP: Final = "demo"
# Who acts where a service asks for a caller; no token can be issued to it.
OFFICE: Final = Caller(SYSTEM.id, SYSTEM.role, "staff", session="", expires_at=0)


async def load(ctx: "Context", *, production: bool) -> bool:
    """Load everything; False: it had been loaded before.

    Raises ValueError in production mode: the passwords are known to everyone.
    """
    if production:
        raise ValueError("the demo data must not be loaded in production mode")
    versions = VersionRepository(ctx.store)
    if await versions.current(GROUP):
        return False
    hospital = read("hospital")[0]
    await _hospital(ctx, hospital)
    await _departments(ctx)
    await _consult_types(ctx)
    await _consent_texts(ctx)
    for doctor in read("doctors"):
        await _doctor(ctx, doctor, main_institution=hospital["main_institution"])
    for member in (*read("pharmacists"), *read("nurses"), *read("officers")):
        await _staff(ctx, member, role=member["role"])
    await ctx.catalogue.changed()
    for owner in read("patients"):
        await _patients(ctx, owner)
    await versions.increase(GROUP)
    return True


async def _hospital(ctx: "Context", record: dict[str, Any]) -> None:
    now = ctx.clock.now()
    fields = {name: record[name] for name in Hospital.__annotations__ if name in record}
    document: Any = {**fields, "_id": HOSPITAL_ID, "created_at": now, "updated_at": now}
    await ctx.hospitals.add(document)


async def _departments(ctx: "Context") -> None:
    now = ctx.clock.now()
    for record in read("departments"):
        await ctx.departments.add(
            Department(
                _id=record["code"],
                code=record["subject_code"],
                name=record["name"],
                introduction=record["introduction"],
                order=record["order"],
                created_at=now,
                updated_at=now,
            )
        )


async def _consult_types(ctx: "Context") -> None:
    for record in read("consult_types"):
        wanted = {name: record[name] for name in ("name", "description", "order", "enabled")}
        try:
            await backoffice.create_consult_type(ctx, caller=OFFICE, id_=record["code"], **wanted)
        except Conflict as error:
            _require_duplicate(error)


async def _consent_texts(ctx: "Context") -> None:
    for record in read("consent_texts"):
        day = datetime.combine(datetime.fromisoformat(record["effective_from"]), time.min, CHINA)
        await directory.publish_consent_text(
            ctx,
            kind=record["kind"],
            version=record["version"],
            title=record["title"],
            body=record["body"],
            effective_at=day.astimezone(UTC),
            by=SYSTEM.id,
        )


async def _staff(ctx: "Context", record: dict[str, Any], *, role: str) -> str:
    account = await accounts.create_staff(
        ctx,
        account=record["account"],
        phone=record["phone"],
        name=record["name"],
        role=role,
        password=DEMO_PASSWORDS[role],
        department_id=record.get("department"),
    )
    return account["_id"]


async def _doctor(ctx: "Context", record: dict[str, Any], *, main_institution: str) -> None:
    now = ctx.clock.now()
    doctor = Doctor(
        _id=await _staff(ctx, record, role="doctor"),
        name=record["name"],
        gender=record["gender"],
        title=record["title_code"],
        department_id=record["department"],
        skills=record["skills"],
        introduction=record["introduction"],
        photo=None,
        qualification_number=record["qualification_number"],
        licence_number=record["licence_number"],
        licence_valid_to=record["licence_valid_to"],
        practice_start=record["practice_start"],
        practice_scope=record["practice_scope"],
        institution=record["main_institution"],
        main_institution=record["main_institution"] == main_institution,
        multi_site_filed=record["multi_site_filed"],
        consent_document=record["consent_document"],
        services=[service for service in rules.SERVICES if record["services"][service]],
        fees=record["fees"],
        online=False,
        rating_sum=0,
        rating_count=0,
        version=1,
        created_at=now,
        updated_at=now,
    )
    doctor["online"] = rules.may_practise(doctor, china_today(ctx.clock), ctx.policy)
    await ctx.doctors.add(doctor)


async def _patients(ctx: "Context", owner: dict[str, Any]) -> None:
    account = await accounts.create_patient_account(ctx, phone=owner["phone"], name=owner["name"])
    caller = Caller(account["_id"], "patient", "patient", session="", expires_at=0)
    for record in owner["patients"]:
        form = {name: value for name, value in record.items() if name != "guardian"}
        try:
            added = await patients.add(ctx, caller=caller, form=form)
        except Conflict as error:
            _require_duplicate(error)
            continue
        await _verify(ctx, caller, added["_id"], record["guardian"])


async def _verify(ctx: "Context", caller: Caller, patient_id: str, guardian: dict[str, str] | None) -> None:
    """The register is asked as for anybody; a demonstration without one leaves its patients unverified."""
    try:
        await patients.verify(ctx, caller=caller, patient_id=patient_id)
        if guardian is not None:
            await patients.set_guardian(ctx, caller=caller, patient_id=patient_id, form=guardian)
    except Exception as error:
        if refusal_of(error) is None:
            raise
        log.warning("demo.patient_unverified", patient=patient_id, error=type(error).__name__)


def _require_duplicate(error: Conflict) -> None:
    if error.code != "duplicate":
        raise error
