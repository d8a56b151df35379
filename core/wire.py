"""What every door reads and writes by: JSON, and pieces of schemas (times, identifiers, pages of lists)."""

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from marshmallow import Schema, fields, validate

# What people read beside a form's field. marshmallow has no catalogue to translate, only these class attributes.
SAID: Final[Mapping[type[fields.Field[Any]], Mapping[str, str]]] = {
    fields.Field: {"required": "此项必填", "null": "此项不能为空", "validator_failed": "填写的内容有误"},
    fields.String: {"invalid": "须为文字", "invalid_utf8": "含有无法识别的字符"},
    fields.Integer: {"invalid": "须为整数", "too_large": "数值过大"},
    fields.Boolean: {"invalid": "须为 true 或 false"},
    fields.List: {"invalid": "须为列表"},
    fields.Nested: {"type": "格式有误"},
    fields.Dict: {"invalid": "格式有误"},
}


def _speak_chinese() -> None:
    for kind, said in SAID.items():
        kind.default_error_messages = {**kind.default_error_messages, **said}
    Schema.error_messages = {**Schema.error_messages, "unknown": "不支持的字段", "type": "格式有误"}
    validate.Length.message_min = "长度不能少于 {min}"
    validate.Length.message_max = "长度不能超过 {max}"
    validate.Length.message_all = "长度须在 {min} 到 {max} 之间"
    validate.Length.message_equal = "长度须为 {equal}"
    validate.Range.message_min = "须{min_op} {{min}}"
    validate.Range.message_max = "须{max_op} {{max}}"
    validate.Range.message_all = "须{min_op} {{min}}，且{max_op} {{max}}"
    validate.Range.message_gte, validate.Range.message_gt = "不小于", "大于"
    validate.Range.message_lte, validate.Range.message_lt = "不大于", "小于"
    validate.OneOf.default_message = "不在可选范围内"
    validate.Regexp.default_message = "格式有误"


_speak_chinese()

DAY_FORM: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
ULID_FORM: Final = r"^[0-9A-HJKMNP-TV-Z]{26}$"
# The only escapes by which JSON can hold half a character, which no store takes.
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(body: bytes | bytearray) -> Any:
    """JSON in UTF-8 that any store takes: no NaN, no number beyond 64 bits, no half characters; ValueError otherwise.

    Nesting that is too deep is a RecursionError.
    """
    raw = json.loads(body.decode(), parse_constant=_refuse_number, parse_float=_finite, parse_int=_whole)
    if _SURROGATE_ESCAPE.search(body):
        json.dumps(raw, ensure_ascii=False).encode()
    return raw


def _refuse_number(said: str) -> float:
    raise ValueError(f"{said} is not JSON")


def _whole(said: str) -> int:
    value = int(said)
    return value if -(2**63) <= value < 2**63 else int(_refuse_number(said))


def _finite(said: str) -> float:
    value = float(said)
    return value if math.isfinite(value) else _refuse_number(said)


def rfc3339(moment: datetime) -> str:
    """UTC with `Z` and milliseconds, as all times on the wire."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Time(fields.Field[datetime]):
    """RFC 3339 UTC with `Z`; only written, never read."""

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class Day(fields.Field[str]):
    """`YYYY-MM-DD`, kept as that string; a real day of the calendar."""

    default_error_messages = {"invalid": "须为 YYYY-MM-DD 格式的日期"}  # noqa: RUF012 -- as marshmallow declares it

    def _serialize(self, value: str | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        try:
            if isinstance(value, str) and DAY_FORM.fullmatch(value):
                return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
        raise self.make_error("invalid")


def text(low: int, high: int, **kwargs: Any) -> fields.Str:
    """A trimmed string of `low` to `high` characters, without control characters other than line breaks."""
    return Text(validate=validate.Length(low, high), **kwargs)


class Text(fields.Str):
    """A string as a person typed it: trimmed, no control characters that no keyboard makes."""

    default_error_messages = {"control": "含有不允许的控制字符"}  # noqa: RUF012 -- as marshmallow declares it

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        said = super()._deserialize(value, attr, data, **kwargs)
        if any(ord(char) < 32 and char not in "\n\r\t" for char in said) or _has_surrogate(said):
            raise self.make_error("control")
        return said.strip()


def _has_surrogate(said: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in said)


class Page(Schema):
    """`?limit=&cursor=`; lists answer newest first unless they say otherwise."""

    limit = fields.Int(load_default=20, validate=validate.Range(1, 100), metadata={"description": "1 to 100"})
    cursor = fields.Str(
        load_default=None,
        validate=validate.Regexp(ULID_FORM),
        metadata={"description": "`next_cursor` of the last page"},
    )


def page(items: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """Shape a list read with `limit + 1` documents ordered by `_id`: the extra one only tells that there is more."""
    shown = list(items[:limit])
    return {"items": shown, "next_cursor": shown[-1]["_id"] if len(items) > limit else None}


@functools.cache
def page_of(item: type[Schema] | Schema) -> Schema:
    """The answer schema of a list of `item`; of one item there is one, which the API document names after it."""
    inner = item if isinstance(item, Schema) else item()
    name = f"{type(inner).__name__}Page"
    shape: dict[str, fields.Field[Any]] = {
        "items": fields.List(fields.Nested(inner), required=True),
        "next_cursor": fields.Str(allow_none=True),
    }
    made = Schema.from_dict(shape, name=name)
    made.__module__ = type(inner).__module__
    return made()
