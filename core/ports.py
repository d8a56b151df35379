"""What the core needs of the outside, as Protocols and plain values.

`integrations/` fulfils the outside systems, `im/` the journal; `app/wiring.py` puts them into the `Context`. An
implementation raises `Unavailable` when the other side did not answer or asked to be called again (the caller retries
with the same number) and `Rejected` when it answered no (a person decides). Every call has a timeout of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Literal, Protocol


class Unavailable(Exception):
    """The outside system did not answer, or answered that it cannot now; the same call may be made again."""


class NotSent(Unavailable):
    """The outside system surely did nothing: it was not reached, or said that it is busy."""


class Rejected(Exception):
    """The outside system answered no; `code` is its own word for why."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class BadNotification(Exception):
    """A callback that is not the vendor's: its signature, age or content does not hold."""


# --- payment -----------------------------------------------------------------------------------------------------


class TradeState(StrEnum):
    """Where a payment stands at the gateway (WeChat Pay APIv3 `trade_state`)."""

    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    NOT_PAID = "NOTPAY"
    CLOSED = "CLOSED"
    REVOKED = "REVOKED"
    PAYING = "USERPAYING"
    ERROR = "PAYERROR"


class RefundState(StrEnum):
    """Where a refund stands at the gateway; `ABNORMAL` is not final: the card is void and a person must act."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ABNORMAL = "ABNORMAL"
    CLOSED = "CLOSED"


@dataclass(frozen=True)
class PaymentRequest:
    """One payment to be made; `amount` in fen, `out_trade_no` our number, the same at every try."""

    out_trade_no: str
    description: str
    amount: int
    expires_at: datetime
    payer_openid: str


@dataclass(frozen=True)
class Transaction:
    """A payment as the gateway tells it; `amount` in fen."""

    out_trade_no: str
    transaction_id: str | None
    state: TradeState
    amount: int
    payer_openid: str | None
    succeeded_at: datetime | None


@dataclass(frozen=True)
class RefundRequest:
    """Money to be given back; `out_refund_no` is our number, the same at every try; amounts in fen."""

    out_trade_no: str
    out_refund_no: str
    amount: int
    total: int
    reason: str


@dataclass(frozen=True)
class Refund:
    """A refund as the gateway tells it; `amount` in fen. `accepted_at` is told in answers, not in notifications."""

    out_refund_no: str
    out_trade_no: str
    refund_id: str
    state: RefundState
    amount: int
    succeeded_at: datetime | None
    accepted_at: datetime | None = None


@dataclass(frozen=True)
class BilledPayment:
    """A payment in the gateway's bill; `amount` in fen."""

    out_trade_no: str
    transaction_id: str
    amount: int
    at: datetime


@dataclass(frozen=True)
class BilledRefund:
    """A refund in the gateway's bill, on the day of its acceptance; `amount` in fen, `state` when the bill was made."""

    out_trade_no: str
    out_refund_no: str
    refund_id: str
    amount: int
    state: RefundState
    at: datetime


@dataclass(frozen=True)
class Bill:
    """What the gateway did for us on one calendar day of China."""

    day: date
    payments: tuple[BilledPayment, ...] = ()
    refunds: tuple[BilledRefund, ...] = ()


class AlreadyPaid(Exception):
    """The order cannot be closed: it has been paid."""


class PaymentGateway(Protocol):
    """WeChat Pay, JSAPI channel."""

    async def prepay(self, request: PaymentRequest) -> Mapping[str, str]:
        """Open the payment and answer the signed parameters of `wx.requestPayment`. A paid order: `AlreadyPaid`."""

    async def query(self, out_trade_no: str) -> Transaction | None:
        """The payment as it stands; None when the gateway knows no such number."""

    async def close(self, out_trade_no: str) -> None:
        """Make sure it can no longer be paid; unknown and closed numbers are fine, a paid one is `AlreadyPaid`."""

    async def refund(self, request: RefundRequest) -> Refund:
        """Ask for a refund; a repeat with the same number is the same refund."""

    async def query_refund(self, out_refund_no: str) -> Refund | None:
        """The refund as it stands; None when the gateway knows no such number."""

    async def refund_to_merchant(self, refund_id: str, out_refund_no: str) -> Refund:
        """Have an ABNORMAL refund paid out to our own bank account, from where it reaches the payer by hand.

        `Rejected` when it is not ABNORMAL at the gateway.
        """

    async def bill(self, day: date) -> Bill:
        """All payments and refunds of a day; `Unavailable` until it is made, at 10:00 of China's next day."""

    def read_payment_notification(self, headers: Mapping[str, str], body: bytes) -> Transaction:
        """Verify, check the age (±300 s), decrypt and read a payment callback; `BadNotification` when it is not one."""

    def read_refund_notification(self, headers: Mapping[str, str], body: bytes) -> Refund:
        """The same for a refund callback."""


# --- WeChat login, SMS, identity -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeChatUser:
    """Who a mini-program's login code stands for."""

    openid: str
    unionid: str | None


class WeChatLogin(Protocol):
    """The mini-program's server API. One per mini-program (patients, medical staff)."""

    async def user(self, login_code: str) -> WeChatUser:
        """Redeem a `wx.login` code; a used or false one is `Rejected`."""

    async def phone(self, phone_code: str) -> str:
        """Redeem a phone-number code into an 11-digit mainland number; a used or false one is `Rejected`."""


class WeChatTemplate(StrEnum):
    """What a subscribe message says; each names a template of the mini-program."""

    NOTICE = "notice"
    CALL = "call"


# The values that we can put into a template's places.
WECHAT_VALUES: Final[Mapping[WeChatTemplate, frozenset[str]]] = {
    WeChatTemplate.NOTICE: frozenset({"matter", "hint", "at"}),
    WeChatTemplate.CALL: frozenset({"matter", "hint", "at"}),
}


class WeChatMessages(Protocol):
    """Subscribe messages of a mini-program. One per mini-program."""

    async def send(
        self, openid: str, template: WeChatTemplate, values: Mapping[str, str], *, query: Mapping[str, str]
    ) -> None:
        """Send once a message that opens the template's page with this query.

        Not idempotent, and each message uses up one permission.

        `Rejected` when the user allows none. `NotSent`: nothing was sent. Any other `Unavailable`: perhaps it was.
        """


class SmsTemplate(StrEnum):
    """What a text message says; each names a template filed with the carrier.

    The notices have no places to fill: carriers file a link as part of the text, and nothing else may vary.
    """

    LOGIN_CODE = "login_code"
    PATIENT_NOTICE = "patient_notice"
    STAFF_NOTICE = "staff_notice"
    CALL_INVITATION = "call_invitation"


# The values that each template must have a place for, and no others.
SMS_VALUES: Final[Mapping[SmsTemplate, frozenset[str]]] = {
    SmsTemplate.LOGIN_CODE: frozenset({"code", "minutes"}),
    SmsTemplate.PATIENT_NOTICE: frozenset(),
    SmsTemplate.STAFF_NOTICE: frozenset(),
    SmsTemplate.CALL_INVITATION: frozenset({"doctor", "link"}),
}


class SmsSender(Protocol):
    """Sends one text message."""

    async def send(self, phone: str, template: SmsTemplate, parameters: Mapping[str, str], *, reference: str) -> None:
        """Send once; `reference` comes back in the carrier's receipts. Not idempotent: never retried by itself."""


class Verdict(StrEnum):
    """What the identity check says. Only MATCH is verified: an error or a missing record never counts (R2-1)."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NO_RECORD = "no_record"
    INVALID = "invalid"


@dataclass(frozen=True)
class IdentityCheck:
    """The verdict with what must be kept of it: the provider and its serial number."""

    verdict: Verdict
    provider: str
    serial: str


class IdentityVerifier(Protocol):
    """Real-name check of a person against the public registers."""

    async def verify(self, name: str, id_number: str) -> IdentityCheck:
        """Two factors (二要素). A service error is `Unavailable`, never a verdict."""


# --- the chat journal, fulfilled by im -------------------------------------------------------------------------------

MessageKind = Literal["text", "image", "video", "emoji", "system", "card"]


@dataclass(frozen=True)
class Posted:
    """Where a message stands in its conversation; `dup` when it had been stored before."""

    conversation: str
    seq: int
    id: str
    at: datetime
    dup: bool


class Journal(Protocol):
    """Appends what the hospital itself says in a conversation, in any state of the visit."""

    async def append(
        self, conversation: str, *, kind: Literal["system", "card"], body: Mapping[str, Any], cause: str
    ) -> Posted:
        """Store one message and tell the members; the same `cause` (`visit:{id}:accepted`) is stored once for ever."""


# --- calls, fulfilled by rtc -----------------------------------------------------------------------------------------


class Calls(Protocol):
    """The live calls, as the rest of the hospital needs them."""

    async def end_of_visit(self, visit_id: str) -> None:
        """End the visit's live call, if there is one: it is called when the visit is no longer in progress."""

    async def of(self, account: str, role: str) -> Mapping[str, Any] | None:
        """The live call of a member as the wire shows it (its `conversation` is the visit); None: there is none."""

    async def admits(self, call_id: str, account: str) -> bool:
        """Whether the call is live and this account one of its two members."""
