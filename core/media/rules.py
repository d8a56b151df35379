"""What may be uploaded, how large, who may look at it and for how long it is kept. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from core.errors import Invalid, NotFound, TooLarge, UnsupportedMedia
from core.media.frames import Why
from core.media.signatures import FileType, sniff
from core.policy import MIB, Policy
from storage.media import Media, MediaKind

Variant = Literal["original", "thumbnail"]

TAKEN: Final = "支持 JPEG、PNG、GIF、WebP 图片，MP4、MOV、WebM 视频和 PDF 文件"
_NAMES: Final[Mapping[MediaKind, str]] = {"image": "图片", "video": "视频", "file": "文件"}
# What a client says when it does not know; anything else it says is compared with the bytes.
_UNSTATED: Final = ("", "application/octet-stream", "binary/octet-stream")


def raw_file(media_id: str) -> str:
    """The file of the bytes as they came; gone as soon as the medium is ready."""
    return f"{media_id}.raw"


def file_of(media_id: str, variant: Variant) -> str:
    """The file that serves a variant. All ids derive from the medium's, so that none can be lost by a crash."""
    return media_id if variant == "original" else f"{media_id}.thumbnail"


def files_of(media_id: str) -> tuple[str, str, str]:
    """Every file a medium may have."""
    return raw_file(media_id), file_of(media_id, "original"), file_of(media_id, "thumbnail")


def largest(policy: Policy) -> int:
    """Bytes that no upload may exceed, whatever it is."""
    return max(policy.media_image_bytes, policy.media_video_bytes, policy.media_file_bytes)


def limit_of(kind: MediaKind, policy: Policy) -> int:
    """Bytes an upload of this kind may have."""
    limits = {
        "image": policy.media_image_bytes,
        "video": policy.media_video_bytes,
        "file": policy.media_file_bytes,
    }
    return limits[kind]


def require_size(size: int, kind: MediaKind, policy: Policy) -> None:
    """`TooLarge`, naming the limit, when `size` exceeds that of its kind."""
    limit = limit_of(kind, policy)
    if size > limit:
        raise TooLarge(f"{_NAMES[kind]}不能超过 {limit / MIB:g} MB")


def require_any_size(size: int, policy: Policy) -> None:
    """`TooLarge` when `size` exceeds every limit: told before a byte has been read."""
    if size > largest(policy):
        raise TooLarge(f"文件不能超过 {largest(policy) / MIB:g} MB")


def require_type(head: bytes, declared: str) -> FileType:
    """What the first bytes are; `UnsupportedMedia` when nothing we take, or of another kind than was declared."""
    found = sniff(head)
    if found is None:
        raise UnsupportedMedia(f"不支持的文件类型，{TAKEN}")
    if not found.taken:
        raise UnsupportedMedia(f"暂不支持 HEIC、AVIF 图片，请转换为 JPEG 后上传。{TAKEN}")
    stated = _stated(declared)
    if stated not in _UNSTATED and _kind_of(stated) != found.kind:
        raise UnsupportedMedia("文件内容与声明的类型不一致")
    return found


def require_announced(declared: str, size: int, policy: Policy) -> None:
    """What can be said before the first byte: `UnsupportedMedia` for a type never taken, `TooLarge` for its kind."""
    require_any_size(size, policy)
    stated = _stated(declared)
    if stated in _UNSTATED:
        return
    kind = _kind_of(stated)
    if kind is None:
        raise UnsupportedMedia(f"不支持的文件类型，{TAKEN}")
    require_size(size, kind, policy)


def _stated(declared: str) -> str:
    return declared.partition(";")[0].strip().lower()


def _kind_of(mime: str) -> MediaKind | None:
    if mime == "application/pdf":
        return "file"
    if mime.startswith("image/"):
        return "image"
    return "video" if mime.startswith("video/") else None


def refusal(why: Why, kind: MediaKind) -> Invalid | UnsupportedMedia:
    """How the examination's verdict reads to people."""
    name = _NAMES[kind]
    if why == "codec":
        return UnsupportedMedia("不支持的视频编码，请使用 H.264、H.265、VP8、VP9 或 AV1 编码的视频")
    said = {
        "damaged": f"{name}已损坏或不完整，无法读取",
        "too_many_pixels": f"{name}尺寸过大",
        "too_demanding": f"{name}过于复杂，无法处理",
    }
    return Invalid.field("body", said[why])


def is_readable(media: Media, account: str) -> bool:
    """A finished medium is for its owner and for those in the visits it was attached to."""
    return media["status"] == "ready" and (account == media["owner"] or account in media["readers"])


def require_usable(media: Media | None, owner: str, kinds: frozenset[MediaKind]) -> Media:
    """`NotFound` unless it is the owner's and finished, `Invalid` when of a kind that does not belong there."""
    if media is None or media["owner"] != owner or media["status"] != "ready":
        raise NotFound("附件不存在或尚未上传完成")
    if media["kind"] not in kinds:
        raise Invalid.field("media", f"此处只能使用{'、'.join(_NAMES[kind] for kind in sorted(kinds))}")
    return media


def retained_until(now: datetime, years: int) -> datetime:
    """The same day so many years on (R5-1, R5-2); of a 29 February the 1 March."""
    try:
        return now.replace(year=now.year + years)
    except ValueError:
        return now.replace(year=now.year + years, month=3, day=1)
