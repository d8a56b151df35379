"""What an account may look like and how secrets of login are made and read: decided without asking anyone."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from core.errors import AppError, Forbidden, Invalid
from core.policy import Policy
from storage.accounts import Account, Audience
from storage.sessions import Session

if TYPE_CHECKING:
    from storage.encryption import FieldCipher

# What a text-message code may be for; one for login signs nothing.
Purpose = Literal["login", "bind", "sign"]
PURPOSES: Final = get_args(Purpose)

PHONE_FORM: Final = r"^1[3-9][0-9]{9}$"  # mainland mobile numbers
CODE_FORM: Final = r"^[0-9]{6}$"
LOGIN_FORM: Final = r"^[a-z][a-z0-9._-]{2,31}$"
LOGIN_RULE: Final = "须为 3–32 位小写字母、数字、点、下划线或连字符，以字母开头"

# Fields of an account as the cipher names them: a text sealed for one does not open as another.
PHONE_FIELD: Final = "accounts.phone"
NAME_FIELD: Final = "accounts.name"
SECOND_FACTOR_FIELD: Final = "accounts.second_factor"

_PASSWORD_LOW: Final = 8
_PASSWORD_HIGH: Final = 128


def masked_phone(phone: str) -> str:
    """`138****1234` (R6-5)."""
    return f"{phone[:3]}****{phone[-4:]}"


def require_phone(phone: str) -> None:
    """A mainland mobile number, else `Invalid`."""
    if not re.fullmatch(PHONE_FORM, phone):
        raise Invalid.field("phone", "手机号格式有误")


def require_login(login: str) -> None:
    """A well-formed name of a staff account, else `Invalid`."""
    if not re.fullmatch(LOGIN_FORM, login):
        raise Invalid.field("account", LOGIN_RULE)


def require_password(password: str, login: str) -> None:
    """A password staff may have (R6-4): 8 to 128 characters, a letter and a digit, without the account's name in it."""
    faults = []
    if not _PASSWORD_LOW <= len(password) <= _PASSWORD_HIGH:
        faults.append(f"密码须为 {_PASSWORD_LOW}–{_PASSWORD_HIGH} 位")
    if not (any(char.isalpha() for char in password) and any(char.isdigit() for char in password)):
        faults.append("密码须同时包含字母和数字")
    if login in password.lower():
        faults.append("密码不能包含账号名")
    if faults:
        raise Invalid(faults[0], errors={"password": faults})


def require_active(account: Account) -> None:
    """Refuse a disabled account; only after its owner has been recognised, so that strangers learn nothing."""
    if account["status"] != "active":
        raise Forbidden(code="account_disabled")


def require_password_holds(account: Account, now: datetime) -> None:
    """Refuse a password of the office's making that its owner has not changed in time; after it was found right."""
    expires_at = account.get("password_expires_at")
    if expires_at is not None and expires_at <= now:
        raise Forbidden(code="password_expired")


def describe(cipher: "FieldCipher", account: Account) -> dict[str, Any]:
    """The account as its owner sees it; who has not said a name yet is called by the end of the phone number."""
    phone = cipher.open(account["phone"], field=PHONE_FIELD)
    name = account["name"]
    due = {"password_change_due": True} if account.get("password_expires_at") is not None else {}
    return {
        "id": account["_id"],
        "role": account["role"],
        "audience": account["audience"],
        "name": f"用户{phone[-4:]}" if name is None else cipher.open(name, field=NAME_FIELD),
        "phone": masked_phone(phone),
        "account": account["login"],
        **due,
    }


def describe_session(session: Session, *, current: str | None) -> dict[str, Any]:
    """A session as people see it: no token, and not what it was made from."""
    return {
        "id": session["_id"],
        "method": session["method"],
        "created_at": session["created_at"],
        "refreshed_at": session["refreshed_at"],
        "expires_at": session["expires_at"],
        "current": session["_id"] == current,
    }


def unused_seconds(audience: Audience, policy: Policy) -> int:
    """How long a session that nobody uses can still be refreshed; that of staff ends by itself sooner (R6-4)."""
    return policy.staff_session_seconds if audience == "staff" else policy.refresh_token_seconds


# --- wrong tries and the lock ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tries:
    """The count of wrong tries and, when it is full, until when no other is taken."""

    wrong: int
    locked_until: datetime | None


def next_try(tries: Tries, now: datetime, policy: Policy) -> Tries:
    """The count with one more try in it; `locked` when the lock holds (R6-4).

    A try is counted before it is looked at, so that any number of simultaneous guesses is not more than allowed, and
    a process that dies over one has counted it. The last one allowed locks at once; being right lifts the lock.
    """
    if tries.locked_until is not None and tries.locked_until > now:
        raise locked((tries.locked_until - now).total_seconds())
    wrong = 1 if tries.locked_until is not None else tries.wrong + 1
    full = wrong >= policy.password_tries
    return Tries(wrong, now + timedelta(seconds=policy.password_lock_seconds) if full else None)


def locked(seconds: float) -> AppError:
    """The refusal while the lock holds; it says how long."""
    return Forbidden(code="locked", retry_after=seconds)


# --- secrets ---------------------------------------------------------------------------------------------------------


def digest(key: bytes, use: str, *parts: str) -> str:
    """HMAC-SHA256, base64url: what is stored of a secret. `use` keeps the digests of one kind apart from all others."""
    message = "\0".join((use, *parts)).encode()
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode().rstrip("=")


def new_code() -> str:
    """Six digits, each number as likely as any other."""
    return f"{secrets.randbelow(1_000_000):06d}"


def new_password() -> str:
    """A password for somebody else's first login: 16 characters that nobody confuses, with letters and digits."""
    letters, digits = "abcdefghjkmnpqrstuvwxyz", "23456789"
    drawn = [secrets.choice(letters + digits) for _ in range(14)]
    return secrets.choice(letters) + "".join(drawn) + secrets.choice(digits)


def new_secret() -> str:
    """256 random bits as text that may stand in a URL."""
    return secrets.token_urlsafe(32)


def new_refresh_token(key: bytes, session: str, generation: int) -> str:
    """`session.generation.random.signature`.

    The signature tells a token that was ours once from an invention, so that nobody can end another's session by
    presenting a made-up token, and no list of used tokens is needed to recognise one.
    """
    body = f"{session}.{generation}.{new_secret()}"
    return f"{body}.{digest(key, 'refresh-signature', body)}"


def session_of(key: bytes, refresh_token: str) -> str | None:
    """The session a refresh token was issued for, used or not; None when it is none of ours."""
    body, _, signature = refresh_token.rpartition(".")
    expected = digest(key, "refresh-signature", body)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    return body.partition(".")[0]
