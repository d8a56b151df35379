"""What the two people of a call do: invite, answer, decline, cancel, hang up, and ask how it stands.

Whoever acts is a session of a socket. Of two who act at once one moves the call and the other finds it moved; an act
that comes after the end answers the call as it ended.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from core import outbox
from core.auth import Actor, Caller
from core.commands import Session
from core.compliance import years_later
from core.directory import service as directory
from core.directory.rules import CALL_RECORDING
from core.errors import Conflict, NotFound, WrongState
from core.ids import new_id
from core.visits import service as visits
from rtc import states, steps
from storage.calls import Call, CallConsent, LiveField, Media
from storage.moves import duty
from storage.visits import Visit

if TYPE_CHECKING:
    from core.context import Context

RECORDING: Final = CALL_RECORDING
# Rings, and reaches a patient who is not there.
RING: Final = "call.ring"
TRIES: Final = 5
SPOKEN_IN: Final = "in_progress"


async def invite(ctx: "Context", session: Session, request: str, *, conversation: str, media: Media) -> Call:
    """Ring the patient of a visit in progress; the same request of the same device answers the same call.

    A patient who is in another call gives a call that has ended as `busy`. `NotFound` for another's visit; `WrongState`
    for a visit that is not in progress, while the doctor is in a live call, and in a hospital without a text on
    recording: nobody is recorded who was not asked (R3-5).
    """
    request_id = f"{session.device}/{request}"
    earlier = await ctx.calls.by_request(session.account, request_id)
    if earlier is not None:
        return await steps.current(ctx, _same(earlier, conversation, media))
    visit = await visits.get(ctx, conversation)
    if visit is None or visit["doctor_id"] != session.account:
        raise NotFound
    if visit["status"] != SPOKEN_IN:
        raise WrongState
    text = await ctx.consent_texts.in_force(RECORDING, ctx.clock.now())
    if text is None:
        raise WrongState("医院尚未公布音视频录制告知书，暂不能发起通话")
    # By inviting the doctor agrees to what staff were told in writing; which version that was is kept (decision 0010).
    consents = await _consents(ctx, session, text["version"])
    for _ in range(TRIES):
        call = _new(ctx, visit, session, request_id, media, consents)
        if await ctx.calls.add(call):
            return await _rung(ctx, call)
        first = await ctx.calls.by_request(session.account, request_id)
        if first is not None:
            return _same(first, conversation, media)
        if await _still_live(ctx, "live_visit", conversation) or await _still_live(ctx, "live_doctor", session.account):
            raise WrongState("您正在通话中")
        if await _still_live(ctx, "live_patient", visit["patient_account"]):
            return await _busy(ctx, call)
    raise WrongState


def _same(call: Call, conversation: str, media: Media) -> Call:
    if (call["visit_id"], call["media"]) != (conversation, media):
        raise Conflict(code="idempotency_conflict")
    return call


async def _still_live(ctx: "Context", field: LiveField, value: str) -> bool:
    call = await ctx.calls.live(field, value)
    return call is not None and (await steps.current(ctx, call))["status"] in states.LIVE


def _new(
    ctx: "Context", visit: Visit, session: Session, request_id: str, media: Media, consents: list[CallConsent]
) -> Call:
    now, call_id = ctx.clock.now(), new_id()
    by = Actor(session.account, session.role)
    call: Any = Call(
        _id=call_id,
        visit_id=visit["_id"],
        doctor_id=visit["doctor_id"],
        patient_account=visit["patient_account"],
        media=media,
        status="ringing",
        version=1,
        request_id=request_id,
        answered_by=None,
        legs=states.no_legs(),
        owner=None,
        consents=consents,
        reason=None,
        started_at=None,
        ended_at=None,
        deadline_at=states.deadline_of("ringing", now, None, ctx.policy),
        recording_since=None,
        recorder_faults=[],
        recordings={},
        recording_faults=[],
        recording_reads=[],
        film=None,
        quality={},
        created_at=now,
        updated_at=now,
        retain_until=years_later(now, ctx.policy.retain_call_years),
        history=[outbox.entry(by, "invite", frm="ringing", to="ringing", at=now)],
        duties=[duty(RING, call_id, 0, now)],
    )
    call |= {"live_visit": visit["_id"], "live_doctor": visit["doctor_id"], "live_patient": visit["patient_account"]}
    made: Call = call
    return made


async def _rung(ctx: "Context", call: Call) -> Call:
    """Tell of a new call, unless its visit has ended while it was being stored."""
    await steps.tell(ctx, call, "call.ringing")
    await steps.entered(ctx, call, "ringing", None)
    visit = await visits.get(ctx, call["visit_id"])
    if visit is None or visit["status"] != SPOKEN_IN:
        await steps.end_all(ctx, [call], "close", why="visit_ended")
        found: Call = await ctx.calls.get(call["_id"])
        return found
    return call


async def _busy(ctx: "Context", call: Call) -> Call:
    """The call that was not: ended at once, with its card in the chat like any other."""
    now = ctx.clock.now()
    by = Actor(call["doctor_id"], "doctor")
    stored: Any = {name: value for name, value in call.items() if not name.startswith("live_")}
    stored |= {
        "status": "ended",
        "deadline_at": None,
        "history": [*call["history"], outbox.entry(by, "busy", frm="ringing", to="ended", at=now, reason="busy")],
        "duties": [duty(steps.CONCLUDE, call["_id"], 0, now)],
        **steps.ending(ctx, "busy"),
    }
    if not await ctx.calls.add(stored):  # the same request, twice at once
        first = await ctx.calls.by_request(call["doctor_id"], call["request_id"])
        if first is None:
            raise LookupError("a call was there and is gone")
        return first
    await steps.entered(ctx, stored, "ended", "busy")
    ended: Call = stored
    return ended


async def accept(ctx: "Context", session: Session, *, call_id: str, consent: Mapping[str, str]) -> Call:
    """Answer, agreeing to be recorded (R3-5); of several devices the first wins, the others: `answered_elsewhere`.

    `Invalid` unless the version is that of the text in force; nothing is assumed on the patient's behalf.
    """
    for _ in range(TRIES):
        call = await require_own(ctx, session, call_id)
        if call["answered_by"] == session.device:
            return call
        if call["answered_by"] is not None:
            raise Conflict(code="answered_elsewhere")
        if call["status"] == "ended":
            raise WrongState("通话已结束")
        given = await _consents(ctx, session, consent["version"])
        answered = {"answered_by": session.device, "consents": [*call["consents"], *given]}
        moved = await steps.step(ctx, call, "accept", by=Actor(session.account, session.role), set=answered)
        if moved is not None:
            return moved
    raise WrongState


async def _consents(ctx: "Context", session: Session, version: str) -> list[CallConsent]:
    asked = [{"kind": RECORDING, "version": version}]
    records = await directory.require_consents(
        ctx, asked, needed={RECORDING}, address=session.address, device=session.device
    )
    return [CallConsent(account=session.account, **record) for record in records]


async def end(ctx: "Context", session: Session, *, call_id: str, act: str) -> Call:
    """Decline, cancel or hang up; a call that has ended by then is answered as it is."""
    for _ in range(TRIES):
        call = await require_own(ctx, session, call_id)
        if call["status"] == "ended":
            return call
        moved = await steps.step(ctx, call, act, by=Actor(session.account, session.role))
        if moved is not None:
            return moved
    raise WrongState


async def require_own(ctx: "Context", session: Session, call_id: str) -> Call:
    """The call as it stands, for its two members; a token that is bound to a call reaches that one alone."""
    if session.scope == "call" and session.call != call_id:
        raise NotFound
    return await _require(ctx, session.account, call_id)


async def read(ctx: "Context", *, caller: Caller, call_id: str) -> Call:
    """The call as it stands; `NotFound` for everybody but its two members."""
    return await _require(ctx, caller.id, call_id)


async def _require(ctx: "Context", account: str, call_id: str) -> Call:
    call: Call | None = await ctx.calls.get(call_id)
    if call is None or states.side_of(call, account) is None:
        raise NotFound
    return await steps.current(ctx, call)


async def page_of(ctx: "Context", *, caller: Caller, visit_id: str, limit: int, cursor: str | None) -> list[Call]:
    """The calls of a visit, newest first, one more than `limit` when there are more; for its two members."""
    await visits.require_participant(ctx, caller, visit_id)
    return await ctx.calls.page(visit_id, before=cursor, limit=limit + 1)
