"""What a file is, told by its first bytes; the name and the declared type are only claims.

One table for all that is taken. Sources: JPEG ISO 10918-1 B.1.1.3, PNG W3C §5.2, GIF89a §17, WebP container (RIFF),
ISO 14496-12 §4.3 with the brands of mp4ra.org, QuickTime file format, Matroska/EBML RFC 8794, PDF ISO 32000-1 §7.5.2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from storage.media import MediaKind

# All signatures lie within this many bytes; an EBML header is the longest and rarely exceeds 60.
HEAD_BYTES: Final = 4096


@dataclass(frozen=True)
class FileType:
    """A row of the table: `mime` and `extension` are those of the cleaned file; not `taken`: known, but refused."""

    name: str
    kind: MediaKind
    mime: str
    extension: str
    taken: bool = True


_ROWS = (
    FileType("jpeg", "image", "image/jpeg", "jpg"),
    FileType("png", "image", "image/png", "png"),
    FileType("gif", "image", "image/gif", "gif"),
    FileType("webp", "image", "image/webp", "webp"),
    FileType("heic", "image", "image/heic", "heic", taken=False),
    FileType("mp4", "video", "video/mp4", "mp4"),
    # Telephones' QuickTime files hold the same streams as MP4 and are rewritten as such: no browser promises QuickTime.
    FileType("mov", "video", "video/mp4", "mp4"),
    FileType("webm", "video", "video/webm", "webm"),
    FileType("pdf", "file", "application/pdf", "pdf"),
)
TYPES: Final[Mapping[str, FileType]] = {row.name: row for row in _ROWS}

_STARTS: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"%PDF-", "pdf"),
)

_BRANDS: Final = {
    b"qt  ": "mov",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"), "heic"),
    **dict.fromkeys(
        (b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"av01", b"M4V ", b"MSNV"),
        "mp4",
    ),
    **dict.fromkeys((b"dash", b"3gp4", b"3gp5", b"3gp6", b"3g2a"), "mp4"),
}

_EBML: Final = b"\x1a\x45\xdf\xa3"
# The element DocType (4282) with its length (84, four bytes) and value; "matroska" has length 8 and is not WebM.
_WEBM: Final = re.compile(rb"\x42\x82\x84webm")


def sniff(head: bytes) -> FileType | None:
    """The type of a file that starts with `head` (its first `HEAD_BYTES`, or all of it); None: nothing we know."""
    for start, name in _STARTS:
        if head.startswith(start):
            return TYPES[name]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return TYPES["webp"]
    if head[4:8] == b"ftyp":
        return TYPES.get(_BRANDS.get(head[8:12], ""))
    if head.startswith(_EBML) and _WEBM.search(head, 4, 64):
        return TYPES["webm"]
    return None
