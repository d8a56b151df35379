"""From a socket to the media: a leg's offer finds the process that holds its call, or one that takes it over.

The owner stands in the call. One that is gone is replaced at the next offer: the process with the fewest calls is
asked, and takes the call by compare-and-set; should another have been faster, the offer goes on to that one.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from core.commands import Session
from core.errors import Invalid, NotFound, ServiceUnavailable, WrongState
from rtc import metrics, service, states, turn
from storage.bus import ProcessGone, RequestFailed
from storage.calls import Call

if TYPE_CHECKING:
    from core.context import Context

log = structlog.get_logger()

TRIES: Final = 4
OFFER_SECONDS: Final = 8.0
OTHER_SECONDS: Final = 3.0


async def offer(ctx: "Context", session: Session, *, call_id: str, generation: int, sdp: str) -> dict[str, Any]:
    """The server's answer to a leg's offer, with ICE servers whose credentials are this leg's own.

    `WrongState` before the call is answered and after its end, `Invalid` for a description that cannot be answered
    (its reason, never its content), `unavailable` while no media process lives.
    """
    gone: set[str] = set()
    for _ in range(TRIES):
        call, side = await _require_answered(ctx, session, call_id)
        servers = turn.mint(
            ctx.turn,
            session.account,
            now=ctx.clock.now(),
            longest_call=timedelta(seconds=ctx.policy.call_longest_seconds),
        )
        asked: dict[str, Any] = {
            "call": call_id,
            "owner": call["owner"],
            "side": side,
            "generation": generation,
            "sdp": sdp,
            "ice_servers": [turn.shown(server) for server in servers],
        }
        process = await _process_for(ctx, call, gone)
        try:
            answer = await ctx.bus.request(process, "rtc.offer", asked, OFFER_SECONDS)
        except ProcessGone:
            gone.add(process)
            continue
        except (TimeoutError, RequestFailed) as error:
            metrics.OFFERS.labels("unavailable").inc()
            raise ServiceUnavailable from error
        if answer.get("refused") == "elsewhere":
            gone |= {process} if answer.get("leaving") else set()
            continue
        return _answered(call_id, generation, answer, asked["ice_servers"])
    metrics.OFFERS.labels("unavailable").inc()
    raise ServiceUnavailable


def _answered(
    call_id: str, generation: int, answer: Mapping[str, Any], servers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    refused = answer.get("refused")
    metrics.OFFERS.labels(refused or "answered").inc()
    if refused == "invalid":
        log.info("call.offer_refused", call=call_id, generation=generation, reason=answer["reason"])
        raise Invalid.field("sdp", f"无法识别的会话描述（{answer['reason']}）")
    if refused is not None:
        raise ServiceUnavailable
    return {"generation": generation, "sdp": answer["sdp"], "ice_servers": list(servers)}


async def _process_for(ctx: "Context", call: Call, gone: set[str]) -> str:
    """The call's owner if it lives, else the process with the fewest calls."""
    living = {name: load for name, load in (await ctx.heartbeats.living()).items() if name not in gone}
    if call["owner"] in living:
        return call["owner"]
    if not living:
        metrics.OFFERS.labels("unavailable").inc()
        raise ServiceUnavailable("暂无可用的音视频服务，请稍后再试")
    fewest = min(living.values())
    return random.choice([name for name, load in living.items() if load == fewest])  # noqa: S311 - spread, not secrecy


async def candidates(
    ctx: "Context", session: Session, *, call_id: str, generation: int, candidates: Sequence[Mapping[str, Any]]
) -> None:
    """Further candidates of a leg; where no process holds the call, or another leg has replaced it, they are moot."""
    call, side = await _require_answered(ctx, session, call_id)
    told = {"call": call_id, "side": side, "generation": generation, "candidates": [dict(one) for one in candidates]}
    answer = await _ask_owner(ctx, call, "rtc.candidates", told)
    if "refused" in answer:
        raise Invalid.field("candidates", f"无法识别的候选地址（{answer['reason']}）")


async def stats(ctx: "Context", session: Session, *, call_id: str, figures: Mapping[str, float | None]) -> None:
    """What the client itself measured of what it receives; summed up by whoever holds the call."""
    call, side = await _require_answered(ctx, session, call_id)
    await _ask_owner(ctx, call, "rtc.stats", {"call": call_id, "side": side, "figures": dict(figures)})


async def _require_answered(ctx: "Context", session: Session, call_id: str) -> tuple[Call, str]:
    call = await service.require_own(ctx, session, call_id)
    side = states.side_of(call, session.account)
    if side is None:
        raise NotFound
    if call["status"] not in states.ANSWERED:
        raise WrongState
    return call, side


async def _ask_owner(ctx: "Context", call: Call, op: str, told: dict[str, Any]) -> dict[str, Any]:
    if call["owner"] is None:
        return {}
    try:
        return await ctx.bus.request(call["owner"], op, told, OTHER_SECONDS)
    except ProcessGone:  # the next offer finds another
        return {}
    except (TimeoutError, RequestFailed) as error:
        raise ServiceUnavailable from error
