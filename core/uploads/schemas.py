"""Shapes of resumable uploads on the wire: one answer in JSON, the rest in headers."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, fields, validate

from core.media.schemas import MediaView
from core.uploads.rules import VERSION
from core.wire import Time


class UploadView(Schema):
    """How far an upload has come; `medium` when it is ready. Both sizes in bytes."""

    id = fields.Str(required=True)
    status = fields.Str(required=True, validate=validate.OneOf(("open", "received", "ready")))
    length = fields.Int(required=True)
    offset = fields.Int(required=True, metadata={"description": "bytes stored"})
    expires_at = Time(required=True)
    medium = fields.Nested(MediaView(), required=True, allow_none=True)


def _asked(name: str, description: str, schema: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema, "description": description}


_BYTES: Final = {"type": "string", "pattern": "^[0-9]{1,16}$"}
ASKS_VERSION: Final = _asked("Tus-Resumable", "tus 协议版本", {"type": "string", "enum": [VERSION]})
ASKS_OFFSET: Final = _asked("Upload-Offset", "本次内容的起始位置，须等于服务器已存的字节数", _BYTES)
ASKS_LENGTH: Final = _asked("Upload-Length", "整个文件的字节数", _BYTES)
ASKS_METADATA: Final = _asked(
    "Upload-Metadata", "名称和 Base64 值，逗号分隔；filetype 为文件的媒体类型", {"type": "string"}, required=False
)


def _told(description: str, type_: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": type_}}


_TELLS: Final = {
    "Location": _told("上传的地址"),
    "Tus-Resumable": _told("tus 协议版本"),
    "Tus-Version": _told("支持的 tus 协议版本"),
    "Tus-Extension": _told("支持的 tus 扩展"),
    "Tus-Max-Size": _told("最大文件字节数", "integer"),
    "Upload-Offset": _told("已存的字节数", "integer"),
    "Upload-Length": _told("整个文件的字节数", "integer"),
    "Upload-Metadata": _told("创建时所给"),
    "Upload-Expires": _told("上传的截止时间（HTTP 日期）"),
    "Upload-Medium": _told("上传完成并通过检查后媒体的 id"),
}


def tells(status: int, description: str, *names: str) -> Mapping[int, Mapping[str, Any]]:
    """An answer that says everything in these headers, for `endpoint(responses=…)`."""
    named = ("Tus-Resumable", *names)
    return {status: {"description": description, "headers": {name: _TELLS[name] for name in named}}}
