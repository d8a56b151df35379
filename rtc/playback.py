"""Who may see and hear a recording, why, and by which address: the visit's doctor, the administrator, the regulator.

Reading recordings is a dangerous act (R6-4): a link is given for a fresh proof and a reason alone, is good for at most
five minutes, and names one account and one file. The reason is somebody's words and stays in the call's document.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.accounts import elevation
from core.auth import Caller
from core.errors import Forbidden, NotFound
from core.media import links
from core.media.service import Content
from rtc import parts
from storage.calls import Call, RecordingRead

if TYPE_CHECKING:
    from core.context import Context

READERS: Final = frozenset({"doctor", "admin", "regulator"})


async def recording(ctx: "Context", *, caller: Caller, call_id: str) -> Call:
    """The call whose recording is asked about; `NotFound` for all but the three."""
    return await _require(ctx, call_id, caller.id, caller.role)


async def link(ctx: "Context", *, caller: Caller, call_id: str, variant: str, reason: str) -> dict[str, Any]:
    """A signed address of one file: `url` and `expires_at`. The reason is kept first.

    `elevation_required` without a fresh proof; `NotFound` for another's call and for what there is not (yet).
    """
    call = await _require(ctx, call_id, caller.id, caller.role)
    await elevation.require(ctx, caller)
    if parts.playable(call, variant) is None:
        raise NotFound
    now = ctx.clock.now()
    read = RecordingRead(at=now, actor=caller.id, role=caller.role, variant=variant, reason=reason)
    await ctx.calls.add_recording_read(call_id, read)
    expires = int((now + timedelta(seconds=ctx.policy.media_link_seconds)).timestamp())
    grant = links.Grant(call_id, variant, caller.id, expires, kind="recording")
    return {"url": links.url(grant, ctx.secrets.links), "expires_at": datetime.fromtimestamp(expires, UTC)}


async def require_granted(
    ctx: "Context", *, call_id: str, variant: str, account: str, expires: int, signature: str
) -> Content:
    """What a signed link names. `Forbidden`: false or expired; `NotFound`: not the account's to read any more."""
    grant = links.Grant(call_id, variant, account, expires, kind="recording")
    if not links.is_genuine(grant, signature, ctx.secrets.links):
        raise Forbidden("链接无效")
    if ctx.clock.now().timestamp() >= expires:
        raise Forbidden("链接已过期，请重新申请")
    reader = await ctx.accounts.get(account)
    if reader is None or reader["status"] != "active":
        raise NotFound
    found = parts.playable(await _require(ctx, call_id, account, reader["role"]), variant)
    if found is None:
        raise NotFound
    disposition = f'inline; filename="{found.name}"'
    return Content(found.file_id, found.size, f'"{found.sha256}"', found.mime, disposition)


async def _require(ctx: "Context", call_id: str, account: str, role: str) -> Call:
    call: Call | None = await ctx.calls.get(call_id)
    if call is None or role not in READERS or (role == "doctor" and call["doctor_id"] != account):
        raise NotFound
    return call
