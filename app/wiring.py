"""The composition root: builds the context, merges the parts' tables, knows the order of starting and ending."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from app.settings import BadSettings, Settings, key_of, keys_of, part_of, turn_of, vendor_file
from core import jobs
from core.accounts import handlers as account_handlers
from core.audit import AuditTrail
from core.auditing import handlers as audit_handlers
from core.auditing import jobs as audit_jobs
from core.auth import TokenSigner
from core.backoffice import handlers as backoffice_handlers
from core.backoffice.live import LiveSettings
from core.cashier import handlers as cashier_handlers
from core.cashier import jobs as cashier_jobs
from core.commands import Command, Event
from core.context import Context, Secrets
from core.desk import handlers as desk_handlers
from core.directory import handlers as directory_handlers
from core.directory.catalogue import Catalogue
from core.health import ROUTES as HEALTH_ROUTES
from core.health import OpenApiHandler
from core.ids import Clock, SystemClock, new_id
from core.jobs import DutyFunction, DutyRunner
from core.media import handlers as media_handlers
from core.media import jobs as media_jobs
from core.media.workshop import Workshop, memory_for
from core.notices import jobs as notice_jobs
from core.notices import service as notices
from core.openapi import document
from core.orders import handlers as order_handlers
from core.orders import jobs as order_jobs
from core.patients import handlers as patient_handlers
from core.ports import SMS_VALUES, WECHAT_VALUES, SmsTemplate, WeChatTemplate
from core.ratings import handlers as rating_handlers
from core.ratings import jobs as rating_jobs
from core.uploads import handlers as upload_handlers
from core.uploads import jobs as upload_jobs
from core.visits import handlers as visit_handlers
from core.visits import jobs as visit_jobs
from im import asyncapi
from im import handlers as chat_handlers
from im.absent import AbsentMembers
from im.commands import COMMANDS as CHAT_COMMANDS
from im.hub import Hub
from im.journal import Journal
from im.told import EVENTS as CHAT_EVENTS
from integrations.identity.verifier import IdentityConfig, TencentIdentityVerifier
from integrations.sms.sender import SmsConfig, TemplateForm, TencentSms
from integrations.tencent_cloud import Credentials
from integrations.wechat_login.calls import MiniProgram, WeChatCalls
from integrations.wechat_login.client import WeChatLoginClient
from integrations.wechat_login.messages import MessageTemplate, WeChatMessageClient
from integrations.wechat_pay.config import WeChatPayConfig
from integrations.wechat_pay.gateway import WeChatPay
from rtc import handlers as call_handlers
from rtc import jobs as call_jobs
from rtc.collecting import Collector, Folders
from rtc.commands import COMMANDS as CALL_COMMANDS
from rtc.commands import EVENTS as CALL_EVENTS
from rtc.live import LiveCalls
from rtc.media import OpenRoom
from rtc.worker import Worker
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
from storage.migrations import migrate
from storage.mongo import Store
from storage.notices import NoticeRepository
from storage.orders import OrderRepository
from storage.patient_groups import PatientGroupRepository
from storage.patients import PatientRepository
from storage.pieces import PieceStore
from storage.quick_replies import QuickReplyRepository
from storage.ratings import RatingRepository
from storage.reconciliations import ReconciliationRepository
from storage.redis import connect
from storage.revocations import Revocations
from storage.sessions import SessionRepository
from storage.settings_changes import SettingsChangeRepository
from storage.tickets import Tickets
from storage.token_cache import SharedTokenCache
from storage.uploads import UploadRepository
from storage.versions import VersionRepository
from storage.visits import VisitRepository

log = structlog.get_logger()

Closer = Callable[[], Awaitable[Any]]

REST_ROUTES: Final[list[Any]] = [
    *account_handlers.ROUTES,
    *directory_handlers.ROUTES,
    *patient_handlers.ROUTES,
    *media_handlers.ROUTES,
    *upload_handlers.ROUTES,
    *visit_handlers.ROUTES,
    *rating_handlers.ROUTES,
    *desk_handlers.ROUTES,
    *order_handlers.ROUTES,
    *backoffice_handlers.ROUTES,
    *cashier_handlers.ROUTES,
    *audit_handlers.ROUTES,
    *chat_handlers.REST_ROUTES,
    *call_handlers.ROUTES,
]
SOCKET_ROUTES: Final[list[Any]] = [*chat_handlers.SOCKET_ROUTES]

COMMANDS: Final[Mapping[str, Command]] = {**CHAT_COMMANDS, **CALL_COMMANDS}
EVENTS: Final[Mapping[str, Event]] = {**CHAT_EVENTS, **CALL_EVENTS}

DUTIES: Final[Mapping[str, DutyFunction]] = {
    **order_jobs.DUTIES,
    **visit_jobs.DUTIES,
    **rating_jobs.DUTIES,
    **notice_jobs.DUTIES,
    **call_jobs.DUTIES,
}
DEADLINES: Final[Mapping[str, DutyFunction]] = {
    **visit_jobs.DEADLINES,
    **order_jobs.DEADLINES,
    **call_jobs.DEADLINES,
}
# Seconds between two runs, and what is run; by whichever worker comes first.
PERIODIC: Final[list[tuple[int, Callable[[Context], Awaitable[Any]]]]] = [
    *jobs.PERIODIC,
    *media_jobs.PERIODIC,
    *upload_jobs.PERIODIC,
    *cashier_jobs.PERIODIC,
    *notice_jobs.PERIODIC,
    *audit_jobs.PERIODIC,
    *call_jobs.PERIODIC,
]


@dataclass
class Hospital:
    """One process's share of the hospital, put together and started."""

    ctx: Context
    hub: Hub
    closers: list[Closer] = field(default_factory=list)

    async def close(self) -> None:
        """End everything in the reverse order of its start; what fails to end does not keep the rest from ending."""
        await _close(self.closers)


async def _close(closers: list[Closer]) -> None:
    for close in reversed(closers):
        try:
            await close()
        except Exception:
            log.exception("close.failed", what=getattr(close, "__qualname__", repr(close)))


def routes_of(role: str) -> list[Any]:
    """What a process of this role serves; every role tells whether it lives and what it counts."""
    served: list[Any] = list(HEALTH_ROUTES)
    if role in ("all", "api"):
        served += [*REST_ROUTES, *_document_routes()]
    if role in ("all", "im"):
        served += SOCKET_ROUTES
    return served


def _document_routes() -> list[Any]:
    return [
        (r"/api/v1/openapi.json", OpenApiHandler, {"described": openapi()}),
        (r"/api/v1/asyncapi.json", OpenApiHandler, {"described": socket_document()}),
    ]


def openapi() -> dict[str, Any]:
    """The REST document of the whole hospital."""
    return document([*REST_ROUTES, *HEALTH_ROUTES])


def socket_document() -> dict[str, Any]:
    """The websocket's document of the whole hospital."""
    return asyncapi.document(COMMANDS, EVENTS)


@dataclass(frozen=True)
class Media:
    """The media half of calls: what makes rooms, what ends its threads once they are closed, where recordings lie."""

    open_room: OpenRoom
    close: Closer
    recordings: Folders | None = None


def media(settings: Settings) -> Media:
    """The media half, whose libraries no other role loads; `BadSettings` where it is not installed."""
    try:
        room, recordings, threads = map(importlib.import_module, ("rtc.room", "rtc.recordings", "rtc.threads"))
    except ModuleNotFoundError as error:
        raise BadSettings(f"this installation carries no media of calls: {error.name} is missing") from error
    own = threads.Threads()
    folders = recordings.Recordings(Path(settings.recordings_dir), own)
    return Media(room.open_rooms(folders), partial(asyncio.to_thread, own.close), folders)


async def serve_media(hospital: Hospital, made: Media) -> None:
    """Let this process carry calls; they are left in order before the stores are let go of."""
    worker = Worker(hospital.ctx, made.open_room)
    await worker.start()
    hospital.closers.append(made.close)
    if made.recordings is not None:
        collector = Collector(hospital.ctx, made.recordings)
        await collector.start()
        worker.on_closed = collector.wake
        hospital.closers.append(collector.stop)
    hospital.closers.append(worker.stop)


async def open_hospital(settings: Settings, *, clock: Clock | None = None) -> Hospital:
    """Connect to the stores, bring the database up to date, and start what every role needs.

    Raises what the stores raise when they are away, `BadSettings` for a vendor's file: a hospital does not start half,
    and what had been started by then is ended again.
    """
    closers: list[Closer] = []
    try:
        return await _put_together(settings, clock or SystemClock(), closers)
    except BaseException:
        await _close(closers)
        raise


async def _put_together(settings: Settings, clock: Clock, closers: list[Closer]) -> Hospital:
    process = new_id()
    store = await Store.open(settings.mongo_uri, settings.mongo_database, driver=settings.mongo_driver)  # type: ignore[arg-type]  # checked by app.settings
    closers.append(store.close)
    if settings.production and (unfit := await store.unfit_for_production()):
        raise BadSettings(f"MONGO_URI {' and '.join(unfit)}; production needs a MongoDB replica set")
    await store.ping_write(clock.now())
    await migrate(store, now=clock.now, holder=process)
    redis = connect(settings.redis_url)
    closers.append(redis.aclose)
    # Named after the database: hospitals that share a Redis do not hear each other.
    bus = Bus(redis, process, prefix=f"bus:{settings.mongo_database}")
    await bus.start()
    closers.append(bus.stop)
    limiter = RateLimiter(settings.redis_url)
    closers.append(limiter.close)
    workshop = Workshop(memory_bytes=memory_for(settings.policy.media_image_pixels))
    await workshop.start()
    closers.append(workshop.stop)
    cipher = FieldCipher(keys_of(settings, "field_keys"), settings.field_key, key_of(settings, "blind_index_key"))
    vendors = await _vendors(settings, clock, redis, closers)
    duties = DutyRunner(DUTIES, DEADLINES)
    messages = MessageRepository(store)
    conversations = ConversationRepository(store)
    visits = VisitRepository(store)
    orders = OrderRepository(store)
    notice_documents = NoticeRepository(store)
    doctors = DoctorRepository(store)
    departments = DepartmentRepository(store)
    calls = CallRepository(store)
    settings_changes = SettingsChangeRepository(store)
    audit_entries = AuditEntryRepository(store)
    live = LiveSettings(settings.policy, settings_changes, bus)
    await live.start()
    closers.append(live.stop)
    catalogue = Catalogue(
        doctors=doctors, departments=departments, versions=VersionRepository(store), bus=bus, policy=live.policy
    )
    live.on_change.append(catalogue.forget_offers)
    await catalogue.start()
    closers.append(catalogue.stop)
    absent = AbsentMembers(bus, clock)
    closers.append(absent.stop)  # after the journal's: what it stores at last is owed too
    journal = Journal(messages, conversations, visits, bus, cipher, clock, live.policy)
    journal.on_stored = absent.stored
    journal.start()
    closers.append(journal.stop)
    live_calls = LiveCalls()
    ctx = Context(
        process=process,
        clock=clock,
        policy=live.policy,
        second_factor_required=settings.staff_second_factor == "required",
        secrets=Secrets(codes=key_of(settings, "code_key"), links=key_of(settings, "link_key")),
        public_url=settings.public_url,
        turn=turn_of(settings),
        tokens=TokenSigner(keys_of(settings, "token_keys"), settings.token_key),
        cipher=cipher,
        store=store,
        accounts=AccountRepository(store),
        sessions=SessionRepository(store),
        hospitals=HospitalRepository(store),
        departments=departments,
        doctors=doctors,
        settings_changes=settings_changes,
        consult_types=ConsultTypeRepository(store),
        consent_texts=ConsentTextRepository(store),
        patients=PatientRepository(store),
        media=MediaRepository(store),
        visits=visits,
        notices=notice_documents,
        orders=orders,
        calls=calls,
        reconciliations=ReconciliationRepository(store),
        ratings=RatingRepository(store),
        patient_groups=PatientGroupRepository(store),
        quick_replies=QuickReplyRepository(store),
        conversations=conversations,
        messages=messages,
        idempotency=IdempotencyRepository(store),
        audit_entries=audit_entries,
        audit_blocks=AuditBlockRepository(store),
        audit=AuditTrail(audit_entries),
        files=FileStore(store),
        uploads=UploadRepository(store),
        pieces=PieceStore(store),
        bus=bus,
        heartbeats=Heartbeats(redis, settings.mongo_database),
        limiter=limiter,
        revocations=Revocations(redis),
        login_codes=LoginCodes(redis),
        tickets=Tickets(redis),
        catalogue=catalogue,
        settings=live,
        workshop=workshop,
        duties=duties,
        journal=journal,
        live_calls=live_calls,
        **vendors,
    )
    live_calls.bind(ctx)
    duties.bind(ctx, {"visits": visits, "orders": orders, "notices": notice_documents, "calls": calls})
    absent.owe = partial(notices.owe, ctx)
    hub = Hub(ctx, COMMANDS)
    hub.start()
    closers.append(hub.stop)
    return Hospital(ctx, hub, closers)


async def _vendors(settings: Settings, clock: Clock, redis: Any, closers: list[Closer]) -> dict[str, Any]:
    """The outside systems' adapters, started."""
    tencent = vendor_file(settings.tencent_file, ("secret_id", "secret_key", "sms_app_id", "sign_name", "templates"))
    credentials = Credentials(tencent["secret_id"], tencent["secret_key"])
    templates = {template: _sms_template(settings.tencent_file, tencent, template) for template in SmsTemplate}
    made: dict[str, Any] = {
        "payment": WeChatPay(
            WeChatPayConfig.read(
                Path(settings.wechat_pay_file),
                notify_url_base=f"{settings.public_url}/api/v1/notify",
                base_url=settings.wechat_pay_url,
            ),
            now=clock.now,
        ),
        "sms": TencentSms(
            SmsConfig(credentials, tencent["sms_app_id"], tencent["sign_name"], templates, endpoint=settings.sms_url),
            now=clock.now,
        ),
        "identity": TencentIdentityVerifier(IdentityConfig(credentials, settings.identity_url), now=clock.now),
    }
    for name, adapter in made.items():
        await adapter.start()
        # The gateway's `close` closes an order.
        closers.append(adapter.stop if name == "payment" else adapter.close)
    return {**made, **await _mini_programs(settings, redis, closers)}


# Only patients are called.
_MESSAGES_TO: Final[Mapping[str, Sequence[WeChatTemplate]]] = {
    "patient": (WeChatTemplate.NOTICE, WeChatTemplate.CALL),
    "staff": (WeChatTemplate.NOTICE,),
}


async def _mini_programs(settings: Settings, redis: Any, closers: list[Closer]) -> dict[str, Any]:
    """What each of the two mini-programs offers, over one connection and one access token."""
    wechat = vendor_file(settings.wechat_file, ("patient", "staff"))
    made: dict[str, Any] = {}
    for audience, name in (("patient", "wechat_patients"), ("staff", "wechat_staff")):
        appid, secret = (part_of(settings.wechat_file, wechat, audience, part) for part in ("appid", "secret"))
        calls = WeChatCalls(
            MiniProgram(appid, secret, endpoint=settings.wechat_url), SharedTokenCache(redis, f"wechat:{appid}")
        )
        await calls.start()
        closers.append(calls.close)
        made[name] = WeChatLoginClient(calls)
        templates = {
            template: _wechat_template(settings.wechat_file, wechat, audience, template)
            for template in _MESSAGES_TO[audience]
        }
        made[f"{audience}_messages"] = WeChatMessageClient(calls, templates)
    return made


def _sms_template(file: str, tencent: Mapping[str, Any], template: SmsTemplate) -> TemplateForm:
    id_, parameters = (part_of(file, tencent, "templates", template, part) for part in ("id", "parameters"))
    if set(parameters) != SMS_VALUES[template]:
        wanted = ", ".join(sorted(SMS_VALUES[template])) or "none"
        raise BadSettings(f"{file}: the parameters of templates.{template} must be {wanted}")
    return TemplateForm(id_, tuple(parameters))


def _wechat_template(file: str, wechat: Mapping[str, Any], audience: str, template: WeChatTemplate) -> MessageTemplate:
    id_, page, places = (
        part_of(file, wechat, audience, "templates", template, part) for part in ("id", "page", "fields")
    )
    if not set(places.values()) <= WECHAT_VALUES[template]:
        known = ", ".join(sorted(WECHAT_VALUES[template]))
        raise BadSettings(f"{file}: the fields of {audience}.templates.{template} may hold {known}")
    return MessageTemplate(id_, page, places)
