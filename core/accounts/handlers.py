"""REST of accounts and login."""

from typing import Any, Final

from core.accounts import codes, elevation, enrolment, login, schemas, service, sessions, tickets
from core.auth import ANYONE, EVERY_ROLE, PATIENT, STAFF_ROLES
from core.http import ApiHandler, Limit, endpoint
from core.policy import HOUR, MINUTE

_CODES_BY_ADDRESS: Final = Limit("auth.codes", "sms_hourly_per_address", HOUR, by="address")
_LOGINS_BY_ADDRESS: Final = Limit("auth.login", "login_per_minute_per_address", MINUTE, by="address")


class SmsCodesHandler(ApiHandler):
    """Codes by text message."""

    @endpoint(
        roles=ANYONE,
        summary="发送短信验证码",
        body=schemas.AskCode(),
        status=202,
        errors=("rate_limited", "unavailable"),
        limits=(_CODES_BY_ADDRESS,),
    )
    async def post(self, body: dict[str, Any]) -> None:
        """Send a code; the answer is the same whether or not the phone is known."""
        await codes.send(self.ctx, **body)


class LoginHandler(ApiHandler):
    """The first step of logging in."""

    @endpoint(
        roles=ANYONE,
        summary="登录（短信验证码、账号密码、微信手机号）",
        body=schemas.LogIn(),
        answer=schemas.LoginView(),
        errors=("bad_credentials", "locked", "account_disabled", "password_expired", "rate_limited", "unavailable"),
        limits=(_LOGINS_BY_ADDRESS,),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """Tokens, or a ticket for the second step."""
        return await login.log_in(self.ctx, **body)


class MfaHandler(ApiHandler):
    """The second step of logging in."""

    @endpoint(
        roles=ANYONE,
        summary="提交登录的第二因素验证码",
        body=schemas.SecondStep(),
        answer=schemas.LoggedInView(),
        errors=("bad_credentials", "locked", "account_disabled", "rate_limited", "unavailable"),
        limits=(_LOGINS_BY_ADDRESS,),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """Tokens for the ticket of the first step with a code of the authenticator."""
        return await login.finish(self.ctx, **body)


class RefreshHandler(ApiHandler):
    """Renewal of a session."""

    @endpoint(
        roles=ANYONE,
        summary="用刷新令牌换取新令牌",
        body=schemas.RefreshToken(),
        answer=schemas.LoggedInView(),
        errors=("unauthenticated", "token_reused"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """New tokens; a refresh token works once, its reuse ends the session."""
        return await sessions.refresh(self.ctx, body["refresh_token"])


class LogoutHandler(ApiHandler):
    """The end of a session."""

    @endpoint(roles=ANYONE, summary="退出登录", body=schemas.RefreshToken())
    async def post(self, body: dict[str, Any]) -> None:
        """End the session of a refresh token; the answer is the same for a token that was never ours."""
        await sessions.log_out(self.ctx, body["refresh_token"])


class TicketsHandler(ApiHandler):
    """Tickets that may stand in a URL."""

    @endpoint(
        roles=EVERY_ROLE,
        summary="签发一次性凭证",
        body=schemas.AskTicket(),
        answer=schemas.TicketView(),
        errors=("not_found", "unavailable"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """A ticket for one use within a minute; for `call`, to a live call of the caller's."""
        return await tickets.issue(self.ctx, caller=self.caller, **body)


class RedeemHandler(ApiHandler):
    """The use of a ticket."""

    @endpoint(
        roles=ANYONE,
        summary="用一次性凭证换取访问令牌",
        body=schemas.RedeemTicket(),
        answer=schemas.AccessGrantView(),
        errors=("unauthenticated", "unavailable"),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """An access token on the session the ticket came from, or one that opens a single call."""
        return await tickets.redeem(self.ctx, body["ticket"])


class MeHandler(ApiHandler):
    """One's own account."""

    @endpoint(roles=EVERY_ROLE, summary="查看本人账号", answer=schemas.AccountView())
    async def get(self) -> Any:
        """The caller's account, with a masked phone."""
        return await service.me(self.ctx, caller=self.caller)

    @endpoint(roles=PATIENT, summary="修改本人称呼", body=schemas.Rename(), answer=schemas.AccountView())
    async def patch(self, body: dict[str, Any]) -> Any:
        """The caller's account under its new name."""
        return await service.rename(self.ctx, caller=self.caller, **body)


class ElevateHandler(ApiHandler):
    """Proof before dangerous acts."""

    @endpoint(
        roles=STAFF_ROLES,
        summary="敏感操作前重新验证身份（密码或动态验证码）",
        body=schemas.Elevate(),
        answer=schemas.ElevationView(),
        errors=("bad_credentials", "locked", "conflict", "rate_limited", "unavailable"),
        limits=(_LOGINS_BY_ADDRESS,),
    )
    async def post(self, body: dict[str, Any]) -> Any:
        """Lift this session, and no other, for some minutes (R6-4)."""
        return await elevation.elevate(self.ctx, caller=self.caller, **body)


class PasswordHandler(ApiHandler):
    """One's own password."""

    @endpoint(
        roles=STAFF_ROLES,
        summary="修改本人密码",
        body=schemas.ChangePassword(),
        answer=schemas.LoggedInView(),
        errors=("bad_credentials", "locked", "conflict", "rate_limited"),
        limits=(_LOGINS_BY_ADDRESS,),
    )
    async def put(self, body: dict[str, Any]) -> Any:
        """Ends every session and answers a new one."""
        return await service.change_password(self.ctx, caller=self.caller, **body)


class SecondFactorHandler(ApiHandler):
    """One's own authenticator."""

    @endpoint(
        roles=STAFF_ROLES,
        summary="开始绑定动态验证码",
        answer=schemas.EnrolmentView(),
        errors=("elevation_required", "unavailable"),
    )
    async def post(self) -> Any:
        """A new secret, which counts once a code of it has been confirmed; until then an earlier one does."""
        return await enrolment.begin(self.ctx, caller=self.caller)

    @endpoint(
        roles=STAFF_ROLES,
        summary="关闭动态验证码",
        errors=("elevation_required", "wrong_state", "unavailable"),
    )
    async def delete(self) -> None:
        """Ask for none any more, where the hospital allows it."""
        await enrolment.remove(self.ctx, caller=self.caller)


class SecondFactorConfirmHandler(ApiHandler):
    """The end of binding an authenticator."""

    @endpoint(
        roles=STAFF_ROLES,
        summary="确认绑定动态验证码",
        body=schemas.ConfirmCode(),
        errors=("wrong_state", "unavailable"),
    )
    async def post(self, body: dict[str, Any]) -> None:
        """From now on codes of the new secret are asked for."""
        await enrolment.confirm(self.ctx, caller=self.caller, **body)


class SessionsHandler(ApiHandler):
    """One's own sessions."""

    @endpoint(roles=EVERY_ROLE, summary="本人的登录会话", answer=schemas.SESSIONS)
    async def get(self) -> Any:
        """All that have not ended, newest first, at once."""
        return {"items": await service.sessions_of(self.ctx, caller=self.caller), "next_cursor": None}


class SessionHandler(ApiHandler):
    """One of one's own sessions."""

    @endpoint(roles=EVERY_ROLE, summary="结束一个登录会话", errors=("not_found",))
    async def delete(self, session_id: str) -> None:
        """Its tokens are refused and its sockets closed (4001) at once."""
        await sessions.revoke(self.ctx, self.caller.id, session_id)


ROUTES: Final = [
    (r"/api/v1/auth/sms-codes", SmsCodesHandler),
    (r"/api/v1/auth/login", LoginHandler),
    (r"/api/v1/auth/mfa", MfaHandler),
    (r"/api/v1/auth/refresh", RefreshHandler),
    (r"/api/v1/auth/logout", LogoutHandler),
    (r"/api/v1/auth/tickets", TicketsHandler),
    (r"/api/v1/auth/tickets/redeem", RedeemHandler),
    (r"/api/v1/auth/elevate", ElevateHandler),
    (r"/api/v1/me", MeHandler),
    (r"/api/v1/me/password", PasswordHandler),
    (r"/api/v1/me/second-factor", SecondFactorHandler),
    (r"/api/v1/me/second-factor/confirm", SecondFactorConfirmHandler),
    (r"/api/v1/me/sessions", SessionsHandler),
    (r"/api/v1/me/sessions/(\w+)", SessionHandler),
]
