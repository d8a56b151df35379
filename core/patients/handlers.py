"""The doors to an account's patients (就诊人)."""

from typing import Any, Final

from core.auth import PATIENT
from core.http import ApiHandler, Limit, endpoint
from core.patients import schemas, service
from core.policy import DAY

# Each check costs money and says whether a name belongs to a number: nobody gets to try many.
CHECKS: Final = (Limit("identity_checks", "identity_checks_per_day", DAY),)
CHECK_ERRORS: Final = ("not_found", "verification_failed", "conflict", "rate_limited", "unavailable")


class PatientsHandler(ApiHandler):
    """The account's patients."""

    @endpoint(roles=PATIENT, summary="就诊人列表", audits="patient.list", answer=schemas.PATIENTS)
    async def get(self) -> Any:
        """All of them, newest first, masked; there are never more than the policy's number."""
        return {"items": await service.listed(self.ctx, caller=self.caller), "next_cursor": None}

    @endpoint(
        roles=PATIENT,
        summary="添加就诊人",
        body=schemas.PatientForm(),
        answer=schemas.PatientView(),
        status=201,
        errors=("duplicate", "limit_reached"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """Not verified yet; see `/verify`."""
        return service.opened(self.ctx, await service.add(self.ctx, caller=self.caller, form=body))


class PatientHandler(ApiHandler):
    """One patient of the account."""

    @endpoint(
        roles=PATIENT, summary="就诊人详情", audits="patient.read", answer=schemas.PatientView(), errors=("not_found",)
    )
    async def get(self, patient_id: str) -> Any:
        """The name in full, numbers masked."""
        return service.opened(self.ctx, await service.require_own(self.ctx, self.caller, patient_id))

    @endpoint(
        roles=PATIENT,
        summary="修改就诊人",
        body=schemas.PatientChange(),
        answer=schemas.PatientView(),
        errors=("not_found", "duplicate", "conflict"),
    )
    async def patch(self, patient_id: str, body: dict[str, Any]) -> Any:
        """A changed name, paper, gender or birth date must be verified again."""
        changed = await service.change(self.ctx, caller=self.caller, patient_id=patient_id, form=body)
        return service.opened(self.ctx, changed)

    @endpoint(roles=PATIENT, summary="移除就诊人", errors=("not_found",))
    async def delete(self, patient_id: str) -> None:
        """Off the list; visits of this patient stay and go on."""
        await service.remove(self.ctx, caller=self.caller, patient_id=patient_id)


class VerifyHandler(ApiHandler):
    """The real-name check of a patient."""

    @endpoint(roles=PATIENT, summary="就诊人实名认证", answer=schemas.PatientView(), errors=CHECK_ERRORS, limits=CHECKS)
    async def post(self, patient_id: str) -> Any:
        """Read `verification.state` of the answer: without a record it says `manual_review`, which is not verified."""
        return service.opened(self.ctx, await service.verify(self.ctx, caller=self.caller, patient_id=patient_id))


class GuardianHandler(ApiHandler):
    """The guardian of a child."""

    @endpoint(
        roles=PATIENT,
        summary="设置监护人并实名认证",
        body=schemas.GuardianForm(),
        answer=schemas.PatientView(),
        errors=CHECK_ERRORS,
        limits=CHECKS,
    )
    async def put(self, patient_id: str, body: dict[str, Any]) -> Any:
        """Replaces the guardian; read `guardian.verification.state` of the answer."""
        changed = await service.set_guardian(self.ctx, caller=self.caller, patient_id=patient_id, form=body)
        return service.opened(self.ctx, changed)


ROUTES = [
    (r"/api/v1/patients", PatientsHandler),
    (r"/api/v1/patients/(\w+)", PatientHandler),
    (r"/api/v1/patients/(\w+)/verify", VerifyHandler),
    (r"/api/v1/patients/(\w+)/guardian", GuardianHandler),
]
