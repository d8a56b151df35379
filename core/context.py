"""Everything a service may work with, put together once by `app/wiring.py`.

Services take a `Context` first and narrow values after it; pure rules take none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.audit import AuditTrail
    from core.auth import TokenSigner
    from core.backoffice.live import LiveSettings
    from core.directory.catalogue import Catalogue
    from core.ids import Clock
    from core.jobs import DutyRunner
    from core.media.workshop import Workshop
    from core.policy import Policy
    from core.ports import (
        Calls,
        IdentityVerifier,
        Journal,
        PaymentGateway,
        SmsSender,
        WeChatLogin,
        WeChatMessages,
    )
    from storage.accounts import AccountRepository
    from storage.audit import AuditBlockRepository, AuditEntryRepository
    from storage.bus import Bus
    from storage.calls import CallRepository
    from storage.consent_texts import ConsentTextRepository
    from storage.consult_types import ConsultTypeRepository
    from storage.conversations import ConversationRepository
    from storage.departments import DepartmentRepository
    from storage.doctors import DoctorRepository
    from storage.encryption import FieldCipher
    from storage.files import FileStore
    from storage.heartbeats import Heartbeats
    from storage.hospitals import HospitalRepository
    from storage.idempotency import IdempotencyRepository
    from storage.limits import RateLimiter
    from storage.login_codes import LoginCodes
    from storage.media import MediaRepository
    from storage.messages import MessageRepository
    from storage.mongo import Store
    from storage.notices import NoticeRepository
    from storage.orders import OrderRepository
    from storage.patient_groups import PatientGroupRepository
    from storage.patients import PatientRepository
    from storage.pieces import PieceStore
    from storage.quick_replies import QuickReplyRepository
    from storage.ratings import RatingRepository
    from storage.reconciliations import ReconciliationRepository
    from storage.revocations import Revocations
    from storage.sessions import SessionRepository
    from storage.settings_changes import SettingsChangeRepository
    from storage.tickets import Tickets
    from storage.uploads import UploadRepository
    from storage.visits import VisitRepository


@dataclass(frozen=True)
class Secrets:
    """Keys that services sign or hash with, apart from access tokens and field encryption."""

    codes: bytes
    """HMAC key of text-message codes and refresh tokens."""
    links: bytes
    """HMAC key of signed media links."""


@dataclass(frozen=True)
class Turn:
    """The STUN and TURN servers that clients are told of; no addresses: none."""

    urls: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    """Shared with coturn (`static-auth-secret`)."""


@dataclass(frozen=True)
class Context:
    """The collaborators of every service, in one process."""

    process: str
    clock: Clock
    policy: Policy
    second_factor_required: bool
    """Staff log in with a second factor only (R6-4)."""
    secrets: Secrets
    public_url: str
    """How the outside reaches this hospital, without a slash at the end."""
    turn: Turn
    tokens: TokenSigner
    cipher: FieldCipher

    store: Store
    accounts: AccountRepository
    sessions: SessionRepository
    hospitals: HospitalRepository
    departments: DepartmentRepository
    doctors: DoctorRepository
    settings_changes: SettingsChangeRepository
    consult_types: ConsultTypeRepository
    consent_texts: ConsentTextRepository
    patients: PatientRepository
    media: MediaRepository
    visits: VisitRepository
    notices: NoticeRepository
    orders: OrderRepository
    calls: CallRepository
    reconciliations: ReconciliationRepository
    ratings: RatingRepository
    patient_groups: PatientGroupRepository
    quick_replies: QuickReplyRepository
    conversations: ConversationRepository
    messages: MessageRepository
    idempotency: IdempotencyRepository
    audit_entries: AuditEntryRepository
    audit_blocks: AuditBlockRepository
    files: FileStore
    uploads: UploadRepository
    pieces: PieceStore

    bus: Bus
    heartbeats: Heartbeats
    limiter: RateLimiter
    revocations: Revocations
    login_codes: LoginCodes
    tickets: Tickets

    catalogue: Catalogue
    settings: LiveSettings
    workshop: Workshop
    duties: DutyRunner
    audit: AuditTrail

    payment: PaymentGateway
    wechat_patients: WeChatLogin
    wechat_staff: WeChatLogin
    patient_messages: WeChatMessages
    staff_messages: WeChatMessages
    sms: SmsSender
    identity: IdentityVerifier
    journal: Journal
    live_calls: Calls
