"""REST of accounts and login."""

from typing import Any, Final

from core.accounts import codes, login, schemas, service, sessions, tickets
from core.auth import ANYONE, EVERY_ROLE, PATIENT
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
        errors=("bad_credentials", "locked", "account_disabled", "rate_limited", "unavailable"),
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
        """A ticket for one use within a minute."""
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
        """An access token on the session the ticket came from."""
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


ROUTES: Final = [
    (r"/api/v1/auth/sms-codes", SmsCodesHandler),
    (r"/api/v1/auth/login", LoginHandler),
    (r"/api/v1/auth/mfa", MfaHandler),
    (r"/api/v1/auth/refresh", RefreshHandler),
    (r"/api/v1/auth/logout", LogoutHandler),
    (r"/api/v1/auth/tickets", TicketsHandler),
    (r"/api/v1/auth/tickets/redeem", RedeemHandler),
    (r"/api/v1/me", MeHandler),
]
