"""The ops and events of calls on the websocket, two tables; `app/wiring.py` merges them with the chat's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from core.auth import DOCTOR, PARTICIPANTS, PATIENT
from core.commands import Answer, Command, Event, Session
from core.context import Context
from rtc import routing, schemas, service, views


class Process(Protocol):
    """What an op is run with; only its context counts here."""

    @property
    def ctx(self) -> Context:
        """The process's context."""


Run = Callable[[Process, Session, str, dict[str, Any]], Awaitable[Answer]]


async def _invite(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    return views.shown(await service.invite(process.ctx, session, request, **args))


async def _accept(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    call = await service.accept(process.ctx, session, call_id=args["call"], consent=args["consent"])
    return views.shown(call)


def _ending(act: str) -> Run:
    async def run(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
        return views.shown(await service.end(process.ctx, session, call_id=args["call"], act=act))

    return run


async def _offer(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    return await routing.offer(
        process.ctx, session, call_id=args["call"], generation=args["generation"], sdp=args["sdp"]
    )


async def _candidates(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    await routing.candidates(
        process.ctx, session, call_id=args["call"], generation=args["generation"], candidates=args["candidates"]
    )
    return {}


async def _state(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    return views.shown(await service.require_own(process.ctx, session, args["call"]))


async def _stats(process: Process, session: Session, request: str, args: dict[str, Any]) -> Answer:
    figures = {name: value for name, value in args.items() if name != "call"}
    await routing.stats(process.ctx, session, call_id=args["call"], figures=figures)
    return {}


COMMANDS: Final[Mapping[str, Command]] = {
    "call.invite": Command(
        roles=DOCTOR,
        summary="医生发起音视频通话",
        args=schemas.Invite(),
        answer=schemas.CallView(),
        run=_invite,
        errors=("not_found", "wrong_state", "idempotency_conflict"),
    ),
    "call.accept": Command(
        roles=PATIENT,
        summary="患者同意录制并接听",
        args=schemas.Accept(),
        answer=schemas.CallView(),
        run=_accept,
        errors=("not_found", "wrong_state", "answered_elsewhere"),
        call_scope=True,
    ),
    "call.decline": Command(
        roles=PATIENT,
        summary="患者拒绝接听",
        args=schemas.OneCall(),
        answer=schemas.CallView(),
        run=_ending("decline"),
        errors=("not_found", "wrong_state"),
        call_scope=True,
    ),
    "call.cancel": Command(
        roles=DOCTOR,
        summary="医生取消呼叫",
        args=schemas.OneCall(),
        answer=schemas.CallView(),
        run=_ending("cancel"),
        errors=("not_found", "wrong_state"),
        call_scope=True,
    ),
    "call.hangup": Command(
        roles=PARTICIPANTS,
        summary="挂断通话",
        args=schemas.OneCall(),
        answer=schemas.CallView(),
        run=_ending("hangup"),
        errors=("not_found", "wrong_state"),
        call_scope=True,
    ),
    "call.offer": Command(
        roles=PARTICIPANTS,
        summary="提交会话描述，得到服务器的应答与中继服务器",
        args=schemas.Offer(),
        answer=schemas.AnswerView(),
        run=_offer,
        errors=("not_found", "wrong_state", "too_large"),
        call_scope=True,
    ),
    "call.candidates": Command(
        roles=PARTICIPANTS,
        summary="提交后续的网络候选地址",
        args=schemas.Candidates(),
        answer=schemas.Done(),
        run=_candidates,
        errors=("not_found", "wrong_state", "too_large"),
        call_scope=True,
    ),
    "call.state": Command(
        roles=PARTICIPANTS,
        summary="查询通话的真实状态",
        args=schemas.OneCall(),
        answer=schemas.CallView(),
        run=_state,
        errors=("not_found",),
        call_scope=True,
    ),
    "call.stats": Command(
        roles=PARTICIPANTS,
        summary="上报客户端测得的通话质量",
        args=schemas.Stats(),
        answer=schemas.Done(),
        run=_stats,
        errors=("not_found", "wrong_state"),
        call_scope=True,
    ),
}

EVENTS: Final[Mapping[str, Event]] = {
    "call.ringing": Event("来电：双方的全部设备", schemas.CallView()),
    "call.state": Event("通话状态变化：双方的全部设备", schemas.CallView()),
    "call.quality": Event("通话质量：双方的全部设备", schemas.QualityView()),
}
