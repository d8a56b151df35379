"""Media in use: who may read them, attaching them to visits, signed links."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.errors import Forbidden, NotFound
from core.media import links, rules
from core.media.rules import Variant
from core.media.signatures import TYPES
from storage.media import Media, MediaKind

if TYPE_CHECKING:
    from core.context import Context

THUMBNAIL_MIME: Final = "image/jpeg"


@dataclass(frozen=True)
class Content:
    """The bytes of one variant: what HTTP must say about them, and where they are."""

    file_id: str
    size: int
    etag: str
    mime: str
    disposition: str


async def attach(
    ctx: "Context",
    *,
    media_ids: Sequence[str],
    owner: str,
    visit_id: str,
    readers: Collection[str],
    kinds: Collection[MediaKind],
    retain_years: int | None = None,
) -> list[Media]:
    """Let `readers` see these media because they belong to a visit; the media, in the order given. Repeatable.

    All must be the owner's own, finished and of one of `kinds`, or none is touched: `NotFound`, `Invalid`. They are then
    kept `retain_years` from now (default: as long as the record of a visit, R5-1), and are never swept as orphans.
    """
    wanted = list(dict.fromkeys(media_ids))
    found = {media["_id"]: media for media in await ctx.media.get_all(wanted)}
    for media_id in wanted:
        rules.require_usable(found.get(media_id), owner, frozenset(kinds))
    until = rules.retained_until(ctx.clock.now(), retain_years or ctx.policy.retain_record_years)
    done = await asyncio.gather(
        *(
            ctx.media.attach(media_id, owner=owner, visit_id=visit_id, readers=readers, retain_until=until)
            for media_id in wanted
        )
    )
    if not all(done):  # discarded between the two: only an upload nobody had been told of can be
        raise NotFound
    return await ctx.media.get_all(wanted)


async def require_sendable(ctx: "Context", *, media_id: str, owner: str, kind: MediaKind) -> Media:
    """The medium that a chat message of this kind names; `NotFound` or `Invalid` as `attach`. Changes nothing."""
    return rules.require_usable(await ctx.media.get(media_id), owner, frozenset({kind}))


async def require_readable(ctx: "Context", *, media_id: str, account: str) -> Media:
    """A finished medium that this account may see; `NotFound` for all others."""
    media = await ctx.media.get(media_id)
    if media is None or not rules.is_readable(media, account):
        raise NotFound
    return media


async def list_by_ids(ctx: "Context", media_ids: Sequence[str]) -> list[Media]:
    """Those that exist, in this order, for whoever has checked already that the caller may see their visit."""
    return await ctx.media.get_all(media_ids)


def view(media: Media) -> dict[str, Any]:
    """A finished medium as `MediaView` dumps it."""
    facts = media["facts"]
    if facts is None:
        raise ValueError(f"{media['_id']} is not ready")
    path = f"/api/v1/media/{media['_id']}/thumbnail"
    return {
        "id": media["_id"],
        "kind": media["kind"],
        "mime": media["mime"],
        "size": facts["size"],
        "sha256": facts["sha256"],
        "width": facts["width"],
        "height": facts["height"],
        "duration": facts["duration"],
        "thumbnail": None if facts["thumbnail_size"] is None else path,
    }


def content_of(media: Media, variant: Variant) -> Content:
    """What to serve of a finished medium; `NotFound` for the thumbnail of a file."""
    facts, media_id = media["facts"], media["_id"]
    if facts is None:
        raise NotFound
    if variant == "thumbnail":
        if facts["thumbnail_size"] is None:
            raise NotFound
        name = f'inline; filename="{media_id}-thumbnail.jpg"'
        tag = f'"{facts["sha256"]}-thumbnail"'
        return Content(rules.file_of(media_id, variant), facts["thumbnail_size"], tag, THUMBNAIL_MIME, name)
    # Files are never shown in the page's own place: a PDF is a program of sorts.
    shown = "attachment" if media["kind"] == "file" else "inline"
    name = f'{shown}; filename="{media_id}.{TYPES[media["type"]].extension}"'
    return Content(media_id, facts["size"], f'"{facts["sha256"]}"', media["mime"], name)


async def read(ctx: "Context", content: Content, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from `start` up to, not including, `stop`, in pieces of at most a quarter of a MiB."""
    return await ctx.files.open_range(content.file_id, start, stop)


async def link(ctx: "Context", *, media_id: str, account: str, variant: Variant) -> dict[str, Any]:
    """A signed address of one variant for this account: `url` and `expires_at`, at most `media_link_seconds` from now."""
    media = await require_readable(ctx, media_id=media_id, account=account)
    content_of(media, variant)
    expires = int((ctx.clock.now() + timedelta(seconds=ctx.policy.media_link_seconds)).timestamp())
    grant = links.Grant(media_id, variant, account, expires)
    return {"url": links.url(grant, ctx.secrets.links), "expires_at": datetime.fromtimestamp(expires, UTC)}


async def require_granted(
    ctx: "Context", *, media_id: str, variant: Variant, account: str, expires: int, signature: str
) -> Media:
    """The medium a signed link names. `Forbidden` for a false or expired one, `NotFound` once the account may not read it."""
    grant = links.Grant(media_id, variant, account, expires)
    if not links.is_genuine(grant, signature, ctx.secrets.links):
        raise Forbidden("链接无效")
    if ctx.clock.now().timestamp() >= expires:
        raise Forbidden("链接已过期，请刷新后重试")
    return await require_readable(ctx, media_id=media_id, account=account)
