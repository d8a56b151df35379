"""The doors of the back office."""

from typing import Any, Final

from core.backoffice import schemas, service
from core.http import ApiHandler, endpoint

ADMIN: Final = frozenset({"admin"})


class ConsultTypesHandler(ApiHandler):
    """The consultation types, for the office."""

    @endpoint(roles=ADMIN, summary="全部咨询类型", answer=schemas.CONSULT_TYPES)
    async def get(self) -> Any:
        """All of them with their history, disabled ones too, in their order."""
        return {"items": await service.consult_types(self.ctx), "next_cursor": None}

    @endpoint(
        roles=ADMIN,
        summary="新增咨询类型",
        body=schemas.ConsultTypeForm(),
        answer=schemas.ConsultTypeAdminView(),
        status=201,
        errors=("duplicate",),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """Patients may choose it at once."""
        return await service.create_consult_type(self.ctx, caller=self.caller, **body)


class ConsultTypeHandler(ApiHandler):
    """One consultation type, for the office."""

    @endpoint(
        roles=ADMIN,
        summary="修改咨询类型",
        body=schemas.ConsultTypeChange(),
        answer=schemas.ConsultTypeAdminView(),
        errors=("not_found", "conflict", "duplicate"),
    )
    async def patch(self, consult_type_id: str, body: dict[str, Any]) -> Any:
        """Rename, reorder, enable or disable; visits keep the name under which they were submitted."""
        return await service.change_consult_type(
            self.ctx, caller=self.caller, consult_type_id=consult_type_id, changes=body
        )


ROUTES = [
    (r"/api/v1/admin/consult-types", ConsultTypesHandler),
    (r"/api/v1/admin/consult-types/(\w+)", ConsultTypeHandler),
]
