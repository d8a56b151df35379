"""Who is asking: access tokens, roles, and what each request knows of its caller.

Access tokens are JWTs (RFC 7519) signed HS256 under a named key, so that keys can be changed while old tokens live out
their quarter of an hour. They carry account, role, audience, session and the account's epoch; raising the epoch or
revoking the session ends them at the next request, by one Redis read. With Redis away the signature decides alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import jwt
import structlog

from core.errors import Unauthenticated
from storage.redis import BUS_AWAY

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

Audience = Literal["patient", "staff"]
Scope = Literal["full", "call"]

ROLES: Final = ("patient", "doctor", "pharmacist", "nurse", "admin", "security_admin", "auditor", "regulator")
STAFF_ROLES: Final = frozenset(ROLES) - {"patient"}
PATIENT: Final = frozenset({"patient"})
DOCTOR: Final = frozenset({"doctor"})
PARTICIPANTS: Final = PATIENT | DOCTOR
EVERY_ROLE: Final = frozenset(ROLES)
# Named by handlers that need no login; an empty set would read like "forgotten".
ANYONE: Final = frozenset({"anyone"})


@dataclass(frozen=True)
class Actor:
    """Who did something, as history and audit keep it."""

    id: str
    role: str


SYSTEM: Final = Actor("system", "system")
GATEWAY: Final = Actor("gateway", "system")


@dataclass(frozen=True)
class Caller:
    """A verified access token: the account, its role, and the session it stands on."""

    id: str
    role: str
    audience: Audience
    session: str
    expires_at: int
    scope: Scope = "full"
    call: str | None = None

    @property
    def actor(self) -> Actor:
        """As history writes it."""
        return Actor(self.id, self.role)


@dataclass(frozen=True)
class TokenSigner:
    """Signs and reads access tokens. `keys` by key id; `current` signs, all of them verify."""

    keys: Mapping[str, bytes]
    current: str

    def issue(
        self,
        *,
        account: str,
        role: str,
        audience: Audience,
        session: str,
        epoch: int,
        now: datetime,
        seconds: int,
        scope: Scope = "full",
        call: str | None = None,
    ) -> str:
        """An access token that lives `seconds` from `now`."""
        issued = int(now.timestamp())
        claims = {
            "sub": account,
            "role": role,
            "aud": audience,
            "sid": session,
            "epoch": epoch,
            "iat": issued,
            "exp": issued + seconds,
            "scope": scope,
        }
        if call is not None:
            claims["call"] = call
        return jwt.encode(claims, self.keys[self.current], algorithm="HS256", headers={"kid": self.current})

    def read(self, token: str, now: datetime) -> tuple[Caller, int]:
        """The caller and the epoch a token was issued under; `Unauthenticated` when it is not ours or has expired."""
        try:
            key = self.keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=["patient", "staff"],
                options={"require": ["sub", "aud", "exp", "sid", "epoch"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, KeyError, TypeError, UnicodeEncodeError) as error:  # JSON can hold half characters
            raise Unauthenticated from error
        if claims["exp"] <= now.timestamp():
            raise Unauthenticated
        caller = Caller(
            id=claims["sub"],
            role=claims["role"],
            audience=claims["aud"],
            session=claims["sid"],
            expires_at=claims["exp"],
            scope=claims["scope"],
            call=claims.get("call"),
        )
        return caller, claims["epoch"]


async def authenticate(ctx: "Context", token: str) -> Caller:
    """Verify an access token and that its session still stands; `Unauthenticated` otherwise. One Redis read."""
    caller, epoch = ctx.tokens.read(token, ctx.clock.now())
    try:
        standing = await ctx.revocations.standing(session=caller.session, account=caller.id)
    except BUS_AWAY:
        log.warning("auth.revocations_unread", account=caller.id)
        return caller
    if standing.revoked or standing.epoch > epoch:
        raise Unauthenticated
    return caller
