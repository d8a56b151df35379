"""What the doors of accounts read and write."""

from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from core.accounts import rules
from core.auth import ROLES
from core.wire import Text, Time, page_of, text


def phone_number(**kwargs: Any) -> fields.Str:
    """A mainland mobile number."""
    said = validate.Regexp(rules.PHONE_FORM, error="手机号格式有误")
    return Text(validate=said, **kwargs)


def six_digits(**kwargs: Any) -> fields.Str:
    """A code of six digits."""
    return Text(validate=validate.Regexp(rules.CODE_FORM, error="须为 6 位数字"), **kwargs)


def audience(**kwargs: Any) -> fields.Str:
    """Whose door it is."""
    return fields.Str(validate=validate.OneOf(("patient", "staff")), **kwargs)


class AskCode(Schema):
    """Body of POST /auth/sms-codes."""

    phone = phone_number(required=True)
    purpose = fields.Str(required=True, validate=validate.OneOf(rules.PURPOSES))


# What each way in proves itself with; all of it is required and nothing else may be sent.
PROOFS: Final = {
    "sms": frozenset({"phone", "code"}),
    "password": frozenset({"account", "password"}),
    "wechat": frozenset({"login_code", "phone_code"}),
}


class LogIn(Schema):
    """Body of POST /auth/login: the fields besides `audience` and `method` are those of the method."""

    audience = audience(required=True)
    method = fields.Str(required=True, validate=validate.OneOf(tuple(PROOFS)))
    phone = phone_number(metadata={"description": "sms"})
    code = six_digits(metadata={"description": "sms"})
    account = text(1, 64, metadata={"description": "password"})
    password = fields.Str(validate=validate.Length(1, 128), metadata={"description": "password"})
    login_code = text(1, 128, metadata={"description": "wechat: what `wx.login` gave"})
    phone_code = text(1, 128, metadata={"description": "wechat: what the phone-number button gave"})

    @validates_schema
    def _fits_the_method(self, data: dict[str, Any], **kwargs: Any) -> None:
        wanted = PROOFS[data["method"]]
        sent = set(data) - {"audience", "method"}
        faults = {name: ["此登录方式需要填写"] for name in wanted - sent}
        faults |= {name: ["不用于此登录方式"] for name in sent - wanted}
        if data["method"] == "password" and data["audience"] == "patient":
            faults["method"] = ["患者不使用密码登录"]
        if faults:
            raise ValidationError(faults)


class SecondStep(Schema):
    """Body of POST /auth/mfa."""

    ticket = text(1, 128, required=True)
    code = six_digits(required=True)


class RefreshToken(Schema):
    """Body of POST /auth/refresh and /auth/logout."""

    refresh_token = text(1, 256, required=True)


class AskTicket(Schema):
    """Body of POST /auth/tickets."""

    purpose = fields.Str(required=True, validate=validate.OneOf(("web_view", "call")))
    call = text(1, 64, load_default=None)


class RedeemTicket(Schema):
    """Body of POST /auth/tickets/redeem."""

    ticket = text(1, 128, required=True)


class Rename(Schema):
    """Body of PATCH /me."""

    name = text(1, 32, required=True)


class AccountView(Schema):
    """One's own account; `phone` is masked, `account` is the name staff log in with.

    `password_change_due` is there, and true, while the password is one that the office made.
    """

    id = fields.Str(required=True)
    role = fields.Str(required=True, validate=validate.OneOf(ROLES))
    audience = audience(required=True)
    name = fields.Str(required=True)
    phone = fields.Str(required=True, metadata={"example": "138****1111"})
    account = fields.Str(required=True, allow_none=True)
    password_change_due = fields.Bool()


class EnrolmentView(Schema):
    """A secret for an authenticator app (TOTP, RFC 6238), shown once; `uri` is what a QR code for it says."""

    secret = fields.Str(required=True)
    uri = fields.Str(required=True, metadata={"example": "otpauth://totp/…"})


class MfaTicket(Schema):
    """What to send to /auth/mfa with the code; with `enrol`, a code of this new secret, which is bound by it."""

    ticket = fields.Str(required=True)
    enrol = fields.Nested(EnrolmentView)


class AccessGrantView(Schema):
    """An access token and its life in seconds."""

    access_token = fields.Str(required=True)
    expires_in = fields.Int(required=True)


class LoggedInView(AccessGrantView):
    """A session's tokens and whose they are."""

    refresh_token = fields.Str(required=True)
    account = fields.Nested(AccountView, required=True)


class LoginView(Schema):
    """Either the fields of `LoggedInView`, or `mfa` alone when a second factor is asked for."""

    access_token = fields.Str()
    expires_in = fields.Int()
    refresh_token = fields.Str()
    account = fields.Nested(AccountView)
    mfa = fields.Nested(MfaTicket)


class TicketView(Schema):
    """A ticket and its life in seconds."""

    ticket = fields.Str(required=True)
    expires_in = fields.Int(required=True)


class Elevate(Schema):
    """Body of POST /auth/elevate: the password, or a code of the authenticator."""

    password = fields.Str(validate=validate.Length(1, 128))
    code = six_digits()

    @validates_schema
    def _has_one(self, data: dict[str, Any], **kwargs: Any) -> None:
        if len(data) != 1:
            raise ValidationError("密码和动态验证码须填写其中一项", "password")


class ElevationView(Schema):
    """How long dangerous acts may follow, in seconds."""

    expires_in = fields.Int(required=True)


class ConfirmCode(Schema):
    """Body of POST /me/second-factor/confirm."""

    code = six_digits(required=True)


class ChangePassword(Schema):
    """Body of PUT /me/password."""

    current = fields.Str(required=True, validate=validate.Length(1, 128))
    password = fields.Str(required=True, validate=validate.Length(1, 128))


class SessionView(Schema):
    """A login that has not ended; `current` is the one that asks."""

    id = fields.Str(required=True)
    method = fields.Str(required=True)
    created_at = Time(required=True)
    refreshed_at = Time(required=True)
    expires_at = Time(required=True)
    current = fields.Bool(required=True)


SESSIONS: Final = page_of(SessionView)
