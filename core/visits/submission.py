"""Submitting a visit: everything that must hold before a doctor's time and a patient's money are asked for."""

import json
from typing import TYPE_CHECKING, Any, Final

from core import outbox
from core.auth import Caller
from core.compliance import age_on, years_later
from core.directory import service as directory
from core.errors import Conflict, Invalid
from core.ids import china_today, new_id
from core.media import service as media
from core.orders import service as orders
from core.patients import service as patients
from core.visits import rules, service
from storage.moves import duty
from storage.patients import Patient
from storage.visits import PatientSnapshot, Visit

if TYPE_CHECKING:
    from core.context import Context

RETAIN: Final = "visit.retain_patient"


async def submit(
    ctx: "Context", *, caller: Caller, request_id: str, form: dict[str, Any], address: str, device: str
) -> Visit:
    """A new visit awaiting its payment, or waiting for the doctor when the doctor takes no fee.

    Refused, with nothing stored: a doctor who may not or does not offer it (R2-2, R2-8), a patient who is not the
    caller's, not real-name verified (R2-1) or a child without a verified guardian (R3-3), a disabled consultation type,
    missing or outdated consents (R3-1, R3-4), attachments that are not the caller's finished images.
    """
    earlier = await ctx.visits.by_request(caller.id, request_id)
    if earlier is not None:
        return await _opened(ctx, earlier)
    doctor = await directory.require_offered(ctx, form["doctor_id"], form["kind"])
    patient = await patients.require_submittable(ctx, caller, form["patient_id"])
    consult_type = await directory.require_consult_type(ctx, form["consult_type_id"])
    age = age_on(patient["birth_date"], china_today(ctx.clock))
    consents = await directory.require_consents(
        ctx, form["consents"], needed=directory.consents_for(age, ctx.policy), address=address, device=device
    )
    if len(form["attachments"]) > ctx.policy.attachments_per_visit:
        raise Invalid.field("attachments", f"最多上传 {ctx.policy.attachments_per_visit} 个附件")
    visit_id = new_id()
    await media.attach(
        ctx,
        media_ids=form["attachments"],
        owner=caller.id,
        visit_id=visit_id,
        readers=[caller.id, doctor["_id"]],
        kinds={"image"},
    )
    now = ctx.clock.now()
    fee = doctor["fees"][form["kind"]]
    status: Any = "pending_payment" if fee else "waiting"
    visit = Visit(
        _id=visit_id,
        kind=form["kind"],
        status=status,
        version=1,
        request_id=request_id,
        patient_account=caller.id,
        patient=snapshot(patient),
        doctor_id=doctor["_id"],
        doctor_name=doctor["name"],
        department_id=doctor["department_id"],
        consult_type={"id": consult_type["_id"], "name": consult_type["name"]},
        condition=ctx.cipher.seal(json.dumps(form["condition"], ensure_ascii=False), field=service.CONDITION_FIELD),
        attachments=form["attachments"],
        consents=consents,
        fee=fee,
        order_id=new_id() if fee else None,
        reason=None,
        advice=None,
        rating=None,
        submitted_at=None if fee else now,
        accepted_at=None,
        ended_at=None,
        deadline_at=rules.deadline_of(status, now, ctx.policy),
        created_at=now,
        updated_at=now,
        retain_until=years_later(now, ctx.policy.retain_record_years),
        history=[outbox.entry(caller.actor, "create" if fee else "submit", frm=status, to=status, at=now)],
        duties=[duty(kind, visit_id, 0, now) for kind in ("visit.open_order" if fee else "visit.announce", RETAIN)],
    )
    if not await ctx.visits.add(visit):
        first = await ctx.visits.by_request(caller.id, request_id)
        if first is None:
            raise LookupError("a visit was there and is gone")
        return await _opened(ctx, first)
    if not fee:
        await service.tell(ctx, visit)
    return await _opened(ctx, visit)


async def _opened(ctx: "Context", visit: Visit) -> Visit:
    """The visit with its order open; after a crash in between, the repeat gets here.

    `in_progress` while another process is still at it: the answer is kept under the request's key, and must be whole.
    """
    await ctx.duties.run_now("visits", visit["_id"])
    if visit["order_id"] is not None and await orders.get(ctx, visit["order_id"]) is None:
        raise Conflict(code="in_progress", retry_after=1)
    return await service.get(ctx, visit["_id"]) or visit


def snapshot(patient: Patient) -> PatientSnapshot:
    """The patient as the record keeps them, whatever is edited later; names stay sealed."""
    guardian = patient["guardian"]
    return {
        "id": patient["_id"],
        "name": patient["name"],
        "gender": patient["gender"],
        "birth_date": patient["birth_date"],
        "relation": patient["relation"],
        "guardian": None if guardian is None else {"name": guardian["name"], "relation": guardian["relation"]},
    }
