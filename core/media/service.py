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

    All must be the owner's own, finished and of one of `kinds`, or none is touched: `NotFound`, `Invalid`. They are
    then kept `retain_years` from now (default: as long as the record of a visit, R5-1).
    """
    wanted = list(dict.fromkeys(media_ids))
    found = {media["_id"]: media for media in await ctx.media.many(wanted)}
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
    return await ctx.media.many(wanted)


async def require_sendable(ctx: "Context", *, media_id: str, owner: str, kind: MediaKind) -> Media:
    """The medium that a chat message of this kind names; `NotFound` or `Invalid` as `attach`. Changes nothing."""
    return rules.require_usable(await ctx.media.get(media_id), owner, frozenset({kind}))


async def require_readable(ctx: "Context", *, media_id: str, account: str) -> Media:
    """A finished medium that this account may see; `NotFound` for all others."""
    media = await ctx.media.get(media_id)
    if media is None or not rules.is_readable(media, account):
        raise NotFound
    return media


def view(media: Media) -> dict[str, Any]:
    """A finished medium as `MediaView` dumps it."""
    path = f"/api/v1/media/{media['_id']}/thumbnail"
    return {**media, "id": media["_id"], "thumbnail": None if media["thumbnail_size"] is None else path}


def content_of(media: Media, variant: Variant) -> Content:
    """What to serve of a finished medium; `NotFound` for the thumbnail of a file."""
    media_id, file_id, digest = media["_id"], rules.file_of(media["_id"], variant), media["sha256"]
    if variant == "thumbnail":
        if media["thumbnail_size"] is None:
            raise NotFound
        name = f'inline; filename="{media_id}-thumbnail.jpg"'
        return Content(file_id, media["thumbnail_size"], f'"{digest}-thumbnail"', THUMBNAIL_MIME, name)
    # Files are never shown in the page's own place: a PDF is a program of sorts.
    shown = "attachment" if media["kind"] == "file" else "inline"
    name = f'{shown}; filename="{media_id}.{TYPES[media["type"]].extension}"'
    return Content(file_id, media["size"], f'"{digest}"', media["mime"], name)


async def read(ctx: "Context", content: Content, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from `start` up to, not including, `stop`, in pieces of at most a quarter of a MiB."""
    return await ctx.files.open_range(content.file_id, start, stop)


async def link(ctx: "Context", *, media_id: str, account: str, variant: Variant) -> dict[str, Any]:
    """A signed address of one variant for this account: `url` and `expires_at`, `media_link_seconds` from now."""
    media = await require_readable(ctx, media_id=media_id, account=account)
    content_of(media, variant)
    expires = int((ctx.clock.now() + timedelta(seconds=ctx.policy.media_link_seconds)).timestamp())
    grant = links.Grant(media_id, variant, account, expires)
    return {"url": links.url(grant, ctx.secrets.links), "expires_at": datetime.fromtimestamp(expires, UTC)}


async def require_granted(
    ctx: "Context", *, media_id: str, variant: Variant, account: str, expires: int, signature: str
) -> Media:
    """The medium a signed link names. `Forbidden`: false or expired; `NotFound`: not the account's to read."""
    grant = links.Grant(media_id, variant, account, expires)
    if not links.is_genuine(grant, signature, ctx.secrets.links):
        raise Forbidden("链接无效")
    if ctx.clock.now().timestamp() >= expires:
        raise Forbidden("链接已过期，请刷新后重试")
    return await require_readable(ctx, media_id=media_id, account=account)
