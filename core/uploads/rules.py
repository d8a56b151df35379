"""What the headers of a resumable upload must say. Pure. Source: tus resumable upload protocol 1.0.0 (tus.io)."""

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Final

from core.errors import AppError, Conflict, Invalid, TooLarge, UnsupportedMedia
from core.policy import Policy
from storage.uploads import Upload

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,termination"
CONTENT_TYPE: Final = "application/offset+octet-stream"
# The metadata is sent back whole with every HEAD; a name and a type need far less.
LARGEST_METADATA: Final = 2048
LONGEST_TYPE: Final = 100

# Sixteen digits are more than any store holds and less than any of its numbers.
_NUMBER: Final = re.compile(r"[0-9]{1,16}")
_KEY: Final = re.compile(r"[!-+\--~]{1,64}")


def require_version(said: str | None) -> None:
    """412 unless the client speaks the version we do; one that says none is no tus client."""
    if said != VERSION:
        raise AppError(code="unsupported_version")


def length_of(said: str | None) -> int:
    """The `Upload-Length` of a new upload; an empty file is none."""
    length = _number("Upload-Length", said)
    if not length:
        raise Invalid.field("Upload-Length", "文件内容为空")
    return length


def offset_of(said: str | None) -> int:
    """The `Upload-Offset` of a PATCH."""
    return _number("Upload-Offset", said)


def _number(name: str, said: str | None) -> int:
    if said is None or not _NUMBER.fullmatch(said):
        raise Invalid.field(name, "须为非负整数")
    return int(said)


def declared_type(metadata: str) -> str:
    """The value of `filetype` in an `Upload-Metadata` that is well-formed; empty where there is none."""
    pairs = _pairs(metadata)
    try:
        declared = pairs.get("filetype", b"").decode("ascii")
    except UnicodeDecodeError as error:
        raise Invalid.field("Upload-Metadata", "filetype 须为媒体类型") from error
    if len(declared) > LONGEST_TYPE:
        raise Invalid.field("Upload-Metadata", "filetype 过长")
    return declared


def _pairs(metadata: str) -> dict[str, bytes]:
    if len(metadata) > LARGEST_METADATA:
        raise Invalid.field("Upload-Metadata", f"不能超过 {LARGEST_METADATA} 个字符")
    found: dict[str, bytes] = {}
    for pair in metadata.split(",") if metadata else []:
        key, _, value = pair.strip(" ").partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise Invalid.field("Upload-Metadata", "须为不重复的名称和 Base64 值，以逗号分隔")
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid.field("Upload-Metadata", "须为不重复的名称和 Base64 值，以逗号分隔") from error
    return found


def require_content_type(said: str | None) -> None:
    """415 unless it is the one type that a PATCH may have."""
    if (said or "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise UnsupportedMedia(f"续传内容须为 {CONTENT_TYPE}")


def require_next(upload: Upload, offset: int, announced: int) -> None:
    """409 unless the bytes go on where the upload ends; 413 when more are announced than it has room for."""
    if offset != upload["offset"]:
        raise Conflict(code="wrong_offset")
    require_room(upload, offset + announced)


def require_room(upload: Upload, until: int) -> None:
    """413 when the upload would become longer than it said."""
    if until > upload["length"]:
        raise TooLarge("内容超出声明的文件长度")


def is_over(upload: Upload, now: datetime) -> bool:
    """Whether nothing can be asked of it any more."""
    return upload["status"] == "discarded" or upload["expires_at"] <= now


def expiry(begun: datetime, policy: Policy) -> datetime:
    """Until when an upload begun then may be gone on with."""
    return begun + timedelta(seconds=policy.media_orphan_seconds)
