"""Shapes of media on the wire."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, fields, validate

from core.media.signatures import TYPES
from core.wire import Time

KINDS = ("image", "video", "file")
VARIANTS = ("original", "thumbnail")


class MediaView(Schema):
    """A finished medium. `sha256` and `size` are those of the bytes served, cleaned, not of the bytes sent."""

    id = fields.Str(required=True)
    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    mime = fields.Str(required=True, validate=validate.OneOf(sorted({row.mime for row in TYPES.values() if row.taken})))
    size = fields.Int(required=True, metadata={"description": "bytes"})
    sha256 = fields.Str(required=True, metadata={"description": "hexadecimal"})
    width = fields.Int(required=True, allow_none=True, metadata={"description": "pixels as shown; null for files"})
    height = fields.Int(required=True, allow_none=True)
    duration = fields.Float(required=True, allow_none=True, metadata={"description": "seconds; null but for videos"})
    thumbnail = fields.Str(required=True, allow_none=True, metadata={"description": "path of a small JPEG, or null"})


class AskLink(Schema):
    """Body of POST /media/{id}/links."""

    variant = fields.Str(load_default="original", validate=validate.OneOf(VARIANTS))


class LinkView(Schema):
    """A signed address below the server's own, good for whoever holds it until `expires_at`."""

    url = fields.Str(required=True)
    expires_at = Time(required=True)


class SignedQuery(Schema):
    """What a signed link carries."""

    variant = fields.Str(required=True, validate=validate.OneOf(VARIANTS))
    account = fields.Str(required=True, validate=validate.Regexp(r"^[A-Za-z0-9_-]{1,64}$"))
    expires = fields.Int(required=True, validate=validate.Range(0, 2**40))
    signature = fields.Str(required=True, validate=validate.Length(1, 100))


# Raw bodies and parts of files, for which no schema has words; `Endpoint.parameters` in OpenAPI's own terms.
RANGE_PARAMETERS: tuple[dict[str, Any], ...] = (
    {"name": "Range", "in": "header", "schema": {"type": "string"}, "description": "bytes=a-b, bytes=a- 或 bytes=-n"},
    {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
    {"name": "If-Range", "in": "header", "schema": {"type": "string"}},
)
# Of what type the bytes are is the medium's own affair; `Content-Type` says it.
ANY_TYPE: Final = "*/*"
UNCHANGED: Final[Mapping[int, Mapping[str, Any]]] = {304: {"description": "If-None-Match 所指的内容没有变化"}}
PARTIAL: Final[Mapping[int, Mapping[str, Any]]] = {
    206: {"description": "所请求的范围", "content": {ANY_TYPE: {"schema": {"type": "string"}}}},
    **UNCHANGED,
}
