"""The doors of the back office."""

from typing import Any, Final

from core.backoffice import consent_texts, departments, doctors, schemas, service, settings, staff, staff_handlers
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


class DepartmentsHandler(ApiHandler):
    """The departments, for the office."""

    @endpoint(roles=ADMIN, summary="全部科室", answer=schemas.DEPARTMENTS)
    async def get(self) -> Any:
        """All of them with their history, in their order."""
        return {"items": await departments.every(self.ctx), "next_cursor": None}

    @endpoint(
        roles=ADMIN,
        summary="新增科室",
        body=schemas.DepartmentForm(),
        answer=schemas.DepartmentAdminView(),
        status=201,
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """On the public list at once."""
        return await departments.create(self.ctx, caller=self.caller, **body)


class DepartmentHandler(ApiHandler):
    """One department, for the office."""

    @endpoint(
        roles=ADMIN,
        summary="修改科室",
        body=schemas.DepartmentChange(),
        answer=schemas.DepartmentAdminView(),
        errors=("not_found", "conflict"),
    )
    async def patch(self, department_id: str, body: dict[str, Any]) -> Any:
        """On every page at once."""
        return await departments.change(self.ctx, caller=self.caller, department_id=department_id, values=body)


class DoctorsHandler(ApiHandler):
    """The doctors, for the office."""

    @endpoint(roles=ADMIN, summary="全部医生", query=schemas.DoctorsQuery(), answer=schemas.DOCTORS)
    async def get(self, query: dict[str, Any]) -> Any:
        """Those not offered too, each with the reasons (R2-2, R2-8)."""
        return {"items": await doctors.every(self.ctx, **query), "next_cursor": None}

    @endpoint(
        roles=ADMIN,
        summary="为医师账号建立主页",
        body=schemas.NewDoctorPage(),
        answer=schemas.DoctorDetail(),
        status=201,
        errors=("not_found", "duplicate"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """For a doctor's account that has none."""
        account_id = body.pop("account_id")
        return await staff.link_doctor(self.ctx, caller=self.caller, account_id=account_id, page=body)


class DoctorHandler(ApiHandler):
    """One doctor, for the office."""

    @endpoint(roles=ADMIN, summary="医生档案", answer=schemas.DoctorDetail(), errors=("not_found",))
    async def get(self, doctor_id: str) -> Any:
        """With the history of changes."""
        return await doctors.one(self.ctx, doctor_id)

    @endpoint(
        roles=ADMIN,
        summary="修改医生的执业信息、服务与价格",
        body=schemas.DoctorChange(),
        answer=schemas.DoctorDetail(),
        errors=("not_found", "conflict"),
    )
    async def patch(self, doctor_id: str, body: dict[str, Any]) -> Any:
        """Holds for the next request in every process."""
        return await doctors.change(self.ctx, caller=self.caller, doctor_id=doctor_id, values=body)


class ConsentTextsHandler(ApiHandler):
    """The texts patients agree to, for the office."""

    @endpoint(
        roles=ADMIN, summary="全部知情同意文书版本", query=schemas.ConsentTextsQuery(), answer=schemas.CONSENT_TEXTS
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Every version word for word, the latest first within each kind."""
        return {"items": await consent_texts.every(self.ctx, query["kind"]), "next_cursor": None}

    @endpoint(
        roles=ADMIN,
        summary="发布知情同意文书新版本",
        body=schemas.ConsentTextForm(),
        answer=schemas.ConsentTextAdminView(),
        status=201,
        errors=("duplicate",),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """A version is never edited and never removed (R3-1)."""
        return await consent_texts.publish(self.ctx, caller=self.caller, **body)


class SettingsHandler(ApiHandler):
    """The hospital's numbers."""

    @endpoint(roles=ADMIN, summary="医院设置", answer=schemas.SETTINGS)
    async def get(self) -> Any:
        """All of them with bounds, meaning, value and its source."""
        return {"items": settings.table(self.ctx), "next_cursor": None}

    @endpoint(
        roles=ADMIN,
        summary="修改医院设置",
        body=schemas.SettingsChangeForm(),
        answer=schemas.SETTINGS,
        errors=("conflict", "elevation_required"),
    )
    async def patch(self, body: dict[str, Any]) -> Any:
        """All together or none, at once in every process."""
        items = await settings.change(self.ctx, caller=self.caller, values=body["values"])
        return {"items": items, "next_cursor": None}


class SettingsHistoryHandler(ApiHandler):
    """Who changed which number."""

    @endpoint(
        roles=ADMIN | {"auditor"},
        summary="医院设置修改记录",
        query=schemas.NumberedPage(),
        answer=schemas.SETTINGS_HISTORY,
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first."""
        return await settings.history(self.ctx, **query)


ROUTES = [
    (r"/api/v1/admin/consult-types", ConsultTypesHandler),
    (r"/api/v1/admin/consult-types/(\w+)", ConsultTypeHandler),
    (r"/api/v1/admin/departments", DepartmentsHandler),
    (r"/api/v1/admin/departments/(\w+)", DepartmentHandler),
    (r"/api/v1/admin/doctors", DoctorsHandler),
    (r"/api/v1/admin/doctors/(\w+)", DoctorHandler),
    (r"/api/v1/admin/consent-texts", ConsentTextsHandler),
    (r"/api/v1/admin/settings", SettingsHandler),
    (r"/api/v1/admin/settings/history", SettingsHistoryHandler),
    *staff_handlers.ROUTES,
]
