"""The doors of the back office to staff accounts; who may do what to whom is `rules.MAY` (R6-3)."""

from typing import Any, Final

from core.accounts.schemas import SESSIONS
from core.backoffice import staff, staff_schemas
from core.http import ApiHandler, endpoint
from core.wire import page

KEEPERS: Final = frozenset({"admin", "security_admin"})
SECURITY: Final = frozenset({"security_admin"})


class StaffHandler(ApiHandler):
    """Staff accounts."""

    @endpoint(
        roles=KEEPERS,
        summary="工作人员账号",
        audits="account.list",
        query=staff_schemas.StaffQuery(),
        answer=staff_schemas.STAFF,
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Newest first, with masked phones (R6-5)."""
        return shaped(await staff.listed(self.ctx, **query), query["limit"])

    @endpoint(
        roles=KEEPERS,
        summary="新建工作人员账号",
        body=staff_schemas.StaffForm(),
        answer=staff_schemas.NewStaffView(),
        status=201,
        errors=("duplicate", "elevation_required"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """The first password is told once, and must be changed in time."""
        return await staff.create(self.ctx, caller=self.caller, **body)


class StaffMemberHandler(ApiHandler):
    """One staff account."""

    @endpoint(
        roles=KEEPERS,
        summary="工作人员账号详情",
        audits="account.read",
        answer=staff_schemas.StaffDetail(),
        errors=("not_found",),
    )
    async def get(self, account_id: str) -> Any:
        """With what the office did to it."""
        return await staff.one(self.ctx, account_id)

    @endpoint(
        roles=KEEPERS,
        summary="修改工作人员账号（姓名、手机、科室、启停、角色）",
        body=staff_schemas.StaffChange(),
        answer=staff_schemas.StaffDetail(),
        errors=("not_found", "conflict", "duplicate", "elevation_required"),
    )
    async def patch(self, account_id: str, body: dict[str, Any]) -> Any:
        """A changed role and a disabled account end every session at once."""
        return await staff.change(self.ctx, caller=self.caller, account_id=account_id, values=body)


class PasswordResetHandler(ApiHandler):
    """A new first password."""

    @endpoint(
        roles=KEEPERS,
        summary="重置工作人员密码",
        body=staff_schemas.ResetPassword(),
        answer=staff_schemas.InitialPasswordView(),
        errors=("not_found", "conflict", "elevation_required"),
    )
    async def post(self, account_id: str, body: dict[str, Any]) -> Any:
        """Told once; every session ends."""
        return await staff.reset_password(self.ctx, caller=self.caller, account_id=account_id, **body)


class UnlockHandler(ApiHandler):
    """The lock of wrong passwords."""

    @endpoint(roles=SECURITY, summary="解除登录锁定", errors=("not_found", "conflict"))
    async def post(self, account_id: str) -> None:
        """The next password is looked at again."""
        await staff.unlock(self.ctx, caller=self.caller, account_id=account_id)


class StaffSecondFactorHandler(ApiHandler):
    """Somebody else's authenticator."""

    @endpoint(roles=SECURITY, summary="重置动态验证码", errors=("not_found", "conflict", "elevation_required"))
    async def delete(self, account_id: str) -> None:
        """Forget one that is lost; every session ends."""
        await staff.reset_second_factor(self.ctx, caller=self.caller, account_id=account_id)


class StaffSessionsHandler(ApiHandler):
    """Somebody else's sessions."""

    @endpoint(
        roles=SECURITY, summary="工作人员的登录会话", audits="account.sessions", answer=SESSIONS, errors=("not_found",)
    )
    async def get(self, account_id: str) -> Any:
        """All that have not ended, newest first."""
        found = await staff.sessions_of(self.ctx, caller=self.caller, account_id=account_id)
        return {"items": found, "next_cursor": None}

    @endpoint(roles=SECURITY, summary="结束工作人员的全部登录会话", errors=("not_found", "conflict"))
    async def delete(self, account_id: str) -> None:
        """Tokens are refused and sockets closed (4001) at once."""
        await staff.end_sessions(self.ctx, caller=self.caller, account_id=account_id)


def shaped(items: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of rows that carry `id` where documents carry `_id`."""
    return page([{**item, "_id": item["id"]} for item in items], limit)


ROUTES: Final = [
    (r"/api/v1/admin/staff", StaffHandler),
    (r"/api/v1/admin/staff/(\w+)", StaffMemberHandler),
    (r"/api/v1/admin/staff/(\w+)/password-reset", PasswordResetHandler),
    (r"/api/v1/admin/staff/(\w+)/unlock", UnlockHandler),
    (r"/api/v1/admin/staff/(\w+)/second-factor", StaffSecondFactorHandler),
    (r"/api/v1/admin/staff/(\w+)/sessions", StaffSessionsHandler),
]
