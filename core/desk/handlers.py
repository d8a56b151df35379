"""The doctor's desk: own patients in groups, orders and income, own page, ratings, quick replies."""

from typing import Any

from core.auth import DOCTOR
from core.desk import earnings, groups, opinions, patients, profile, quick_replies, schemas
from core.http import ApiHandler, endpoint
from core.visits import views
from core.wire import Page, page


class GroupsHandler(ApiHandler):
    """The doctor's groups of patients (D3.1)."""

    @endpoint(roles=DOCTOR, summary="患者分组列表", answer=schemas.GROUPS)
    async def get(self) -> Any:
        """All of them at once, in the order they were made."""
        return {"items": await groups.own(self.ctx, caller=self.caller), "next_cursor": None}

    @endpoint(
        roles=DOCTOR,
        summary="新建患者分组",
        body=schemas.GroupForm(),
        answer=schemas.GroupView(),
        status=201,
        errors=("duplicate", "limit_reached", "conflict"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """A name the doctor has no other group under."""
        return await groups.create(self.ctx, caller=self.caller, name=body["name"])


class GroupHandler(ApiHandler):
    """One group."""

    @endpoint(
        roles=DOCTOR,
        summary="修改患者分组名称",
        body=schemas.GroupForm(),
        answer=schemas.GroupView(),
        errors=("not_found", "duplicate"),
    )
    async def patch(self, group_id: str, body: dict[str, Any]) -> Any:
        """Another name; who is in it stays."""
        return await groups.rename(self.ctx, caller=self.caller, group_id=group_id, name=body["name"])

    @endpoint(roles=DOCTOR, summary="删除患者分组", errors=("not_found",))
    async def delete(self, group_id: str) -> None:
        """The patients stay, and in their other groups."""
        await groups.remove(self.ctx, caller=self.caller, group_id=group_id)


class MembershipHandler(ApiHandler):
    """A patient in a group."""

    @endpoint(roles=DOCTOR, summary="将患者加入分组", errors=("not_found", "limit_reached"))
    async def put(self, group_id: str, patient_id: str) -> None:
        """Only somebody who has consulted this doctor; a patient may be in several groups."""
        await patients.put_into_group(self.ctx, caller=self.caller, group_id=group_id, patient_id=patient_id)

    @endpoint(roles=DOCTOR, summary="将患者移出分组", errors=("not_found",))
    async def delete(self, group_id: str, patient_id: str) -> None:
        """The patient stays the doctor's patient."""
        await patients.take_out_of_group(self.ctx, caller=self.caller, group_id=group_id, patient_id=patient_id)


class PatientsHandler(ApiHandler):
    """Who has consulted this doctor (D3.1)."""

    @endpoint(
        roles=DOCTOR,
        summary="我的患者",
        audits="patient.list",
        query=schemas.PatientQuery(),
        answer=schemas.PATIENTS,
        errors=("not_found",),
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """By the newest visit, masked; in a group and by name where asked."""
        return await patients.page_of(self.ctx, caller=self.caller, **query)


class PatientHandler(ApiHandler):
    """One of them."""

    @endpoint(
        roles=DOCTOR,
        summary="我的患者详情",
        audits="patient.read",
        query=Page(),
        answer=schemas.PatientRecord(),
        errors=("not_found",),
    )
    async def get(self, patient_id: str, query: dict[str, Any]) -> Any:
        """The name in full and the visits with this doctor; `limit` and `cursor` page through those."""
        record, visits = await patients.open_record(self.ctx, caller=self.caller, patient_id=patient_id, **query)
        return {**record, "history": page([views.item(self.ctx, visit) for visit in visits], query["limit"])}


class OrdersHandler(ApiHandler):
    """What the doctor's patients were to pay for asking (D4.1)."""

    @endpoint(
        roles=DOCTOR, summary="医生订单", audits="order.list", query=schemas.DeskOrderQuery(), answer=schemas.ORDERS
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first; by status and by the day they were made where asked."""
        return page(await earnings.orders_page(self.ctx, caller=self.caller, **query), query["limit"])


class IncomeHandler(ApiHandler):
    """What it came to (D4.1)."""

    @endpoint(roles=DOCTOR, summary="医生收入", query=schemas.IncomeQuery(), answer=schemas.IncomeView())
    async def get(self, query: dict[str, Any]) -> Any:
        """By day or month, consultation fees only; a refund counts on the day the money went back."""
        return await earnings.income(self.ctx, caller=self.caller, **query)


class ProfileHandler(ApiHandler):
    """The doctor's own page (D4.2)."""

    @endpoint(roles=DOCTOR, summary="个人资料", answer=schemas.ProfileView(), errors=("not_found",))
    async def get(self) -> Any:
        """As it is edited, with the bounds within which."""
        return await profile.read(self.ctx, caller=self.caller)

    @endpoint(
        roles=DOCTOR,
        summary="修改个人资料",
        body=schemas.ProfileForm(),
        answer=schemas.ProfileView(),
        errors=("not_found", "conflict"),
    )
    async def patch(self, body: dict[str, Any]) -> Any:
        """Patients see it at once; visits under way keep the fee they were opened with."""
        return await profile.change(self.ctx, caller=self.caller, form=body)


class OpinionsHandler(ApiHandler):
    """What patients said (D4.3)."""

    @endpoint(roles=DOCTOR, summary="患者评价", audits="rating.list", query=Page(), answer=schemas.OpinionsView())
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first under masked names, with average and distribution."""
        return await opinions.page_of(self.ctx, caller=self.caller, **query)


class QuickRepliesHandler(ApiHandler):
    """Sentences the doctor sends often."""

    @endpoint(roles=DOCTOR, summary="快捷回复", answer=schemas.QuickRepliesView())
    async def get(self) -> Any:
        """In the doctor's order."""
        return await quick_replies.own(self.ctx, caller=self.caller)

    @endpoint(
        roles=DOCTOR,
        summary="保存快捷回复",
        body=schemas.QuickRepliesForm(),
        answer=schemas.QuickRepliesView(),
        errors=("conflict",),
    )
    async def put(self, body: dict[str, Any]) -> Any:
        """All of them in their order; refused when another device has changed them since `version`."""
        return await quick_replies.replace(self.ctx, caller=self.caller, **body)


ROUTES = [
    (r"/api/v1/desk/groups", GroupsHandler),
    (r"/api/v1/desk/groups/(\w+)", GroupHandler),
    (r"/api/v1/desk/groups/(\w+)/patients/(\w+)", MembershipHandler),
    (r"/api/v1/desk/patients", PatientsHandler),
    (r"/api/v1/desk/patients/(\w+)", PatientHandler),
    (r"/api/v1/desk/orders", OrdersHandler),
    (r"/api/v1/desk/income", IncomeHandler),
    (r"/api/v1/desk/profile", ProfileHandler),
    (r"/api/v1/desk/ratings", OpinionsHandler),
    (r"/api/v1/desk/quick-replies", QuickRepliesHandler),
]
