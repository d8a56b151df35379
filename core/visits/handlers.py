"""REST of visits and of the doctor's home."""

from typing import Any, Final

from core.auth import DOCTOR, PARTICIPANTS, PATIENT
from core.directory import service as directory
from core.http import ApiHandler, Limit, endpoint
from core.visits import service, submission, views
from core.visits.schemas import (
    DeskSummary,
    Duty,
    NurseVisit,
    Reason,
    SubmitVisit,
    Terminate,
    VisitDetail,
    VisitItem,
    VisitQuery,
)
from core.wire import page, page_of

READERS: Final = PARTICIPANTS | {"nurse"}
MOVE_ERRORS: Final = ("not_found", "wrong_state")


class VisitsHandler(ApiHandler):
    """The caller's visits."""

    @endpoint(roles=READERS, summary="咨询列表", audits="visit.list", query=VisitQuery(), answer=page_of(VisitItem))
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first; a patient's own, a doctor's submitted ones, a nurse's department's."""
        visits = await service.page_of(self.ctx, caller=self.caller, **query)
        return page([views.item(self.ctx, visit) for visit in visits], query["limit"])

    @endpoint(
        roles=PATIENT,
        summary="提交咨询",
        body=SubmitVisit(),
        answer=VisitDetail(),
        status=201,
        idempotent=True,
        limits=(Limit("visit.create", "visits_per_hour", 3_600),),
        errors=("doctor_unavailable", "not_verified", "guardian_required", "not_found"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """The visit with the order that pays for it; nothing is stored when anything is refused."""
        visit = await submission.submit(
            self.ctx,
            caller=self.caller,
            request_id=self.request_key,
            form=body,
            address=self.request.remote_ip or "",
            device=self.request.headers.get("User-Agent", "")[:200],
        )
        return await views.detail(self.ctx, visit)


class VisitHandler(ApiHandler):
    """One visit."""

    @endpoint(roles=PARTICIPANTS, summary="咨询详情", audits="visit.read", answer=VisitDetail(), errors=("not_found",))
    async def get(self, visit_id: str) -> Any:
        """Illness, attachments, consents, order and every step, for the two who take part (D5.8)."""
        return await views.detail(self.ctx, await service.require_participant(self.ctx, self.caller, visit_id))


class NursedVisitHandler(ApiHandler):
    """A visit as the nurses of its department read it."""

    @endpoint(
        roles=frozenset({"nurse"}),
        summary="本科室咨询病情",
        audits="visit.illness",
        answer=NurseVisit(),
        errors=("not_found",),
    )
    async def get(self, visit_id: str) -> Any:
        """The line of the list and the illness, nothing else."""
        return views.item(self.ctx, await service.require_nursed(self.ctx, self.caller, visit_id))


class ActHandler(ApiHandler):
    """Moves of a visit; each answers the visit as it stands after."""

    async def act(self, visit_id: str, act: str, **given: Any) -> Any:
        """Make the move and shape the answer."""
        visit = await service.act(self.ctx, caller=self.caller, visit_id=visit_id, act=act, **given)
        return await views.detail(self.ctx, visit)


class CancelHandler(ActHandler):
    """P1.7."""

    @endpoint(roles=PATIENT, summary="取消咨询", answer=VisitDetail(), errors=MOVE_ERRORS)
    async def post(self, visit_id: str) -> Any:
        """Before the doctor has accepted; what was paid is given back in full."""
        return await self.act(visit_id, "cancel")


class AcceptHandler(ActHandler):
    """The doctor takes the visit."""

    @endpoint(roles=DOCTOR, summary="接诊", answer=VisitDetail(), errors=(*MOVE_ERRORS, "doctor_unavailable"))
    async def post(self, visit_id: str) -> Any:
        """From waiting to in progress; refused to a doctor whose licence has run out (R2-8)."""
        return await self.act(visit_id, "accept")


class DeclineHandler(ActHandler):
    """The doctor does not take the visit."""

    @endpoint(roles=DOCTOR, summary="拒诊", body=Reason(), answer=VisitDetail(), errors=MOVE_ERRORS)
    async def post(self, visit_id: str, body: dict[str, Any]) -> Any:
        """With a reason the patient reads; what was paid is given back in full."""
        return await self.act(visit_id, "decline", reason=body["reason"])


class CompleteHandler(ActHandler):
    """The doctor ends the visit."""

    @endpoint(roles=DOCTOR, summary="结束咨询", answer=VisitDetail(), errors=MOVE_ERRORS)
    async def post(self, visit_id: str) -> Any:
        """The patient is asked for a rating."""
        return await self.act(visit_id, "complete")


class TerminateHandler(ActHandler):
    """The doctor sends the patient to the clinic (R1-4)."""

    @endpoint(roles=DOCTOR, summary="终止并建议线下就诊", body=Terminate(), answer=VisitDetail(), errors=MOVE_ERRORS)
    async def post(self, visit_id: str, body: dict[str, Any]) -> Any:
        """With reason and advice; the fee goes back when asked, and always when judged a first visit."""
        return await self.act(visit_id, "terminate", **body)


class RefundHandler(ActHandler):
    """P1.10."""

    @endpoint(
        roles=DOCTOR,
        summary="主动退费",
        body=Reason(),
        answer=VisitDetail(),
        idempotent=True,
        errors=MOVE_ERRORS,
    )
    async def post(self, visit_id: str, body: dict[str, Any]) -> Any:
        """The whole fee, with a reason the patient reads; a completed visit stays completed."""
        return await self.act(visit_id, "refund", reason=body["reason"])


class DeskSummaryHandler(ApiHandler):
    """The doctor's home (D2.1)."""

    @endpoint(roles=DOCTOR, summary="接诊概况", answer=DeskSummary())
    async def get(self) -> Any:
        """How many visits wait, are in progress, have ended; and whether the doctor is online."""
        return await service.summary(self.ctx, caller=self.caller)


class DeskDutyHandler(ApiHandler):
    """Whether the doctor takes visits now."""

    @endpoint(roles=DOCTOR, summary="设置在线状态", body=Duty(), answer=Duty(), errors=("doctor_unavailable",))
    async def put(self, body: dict[str, Any]) -> Any:
        """A doctor whose licence has run out cannot go online (R2-8)."""
        await directory.set_duty(self.ctx, self.caller.id, body["online"])
        return body


ROUTES = [
    (r"/api/v1/visits", VisitsHandler),
    (r"/api/v1/visits/(\w+)", VisitHandler),
    (r"/api/v1/visits/(\w+)/illness", NursedVisitHandler),
    (r"/api/v1/visits/(\w+)/cancel", CancelHandler),
    (r"/api/v1/visits/(\w+)/accept", AcceptHandler),
    (r"/api/v1/visits/(\w+)/decline", DeclineHandler),
    (r"/api/v1/visits/(\w+)/complete", CompleteHandler),
    (r"/api/v1/visits/(\w+)/terminate", TerminateHandler),
    (r"/api/v1/visits/(\w+)/refund", RefundHandler),
    (r"/api/v1/desk/summary", DeskSummaryHandler),
    (r"/api/v1/desk/duty", DeskDutyHandler),
]
