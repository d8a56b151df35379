"""The AsyncAPI 3.0 document of the websocket, read off the tables: ops, events, close codes and their schemas."""

from collections.abc import Mapping
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from core.commands import Command, Event
from core.errors import CODES
from core.wire import Time
from im import schemas
from im.commands import COMMANDS
from im.frames import BATCH, CLOSES, FRAME_BYTES
from im.schemas import ID_FORM
from im.told import EVENTS

# What any op may be refused with.
COMMON_ERRORS: Final = ("malformed", "invalid", "forbidden", "unavailable", "overloaded", "internal")
_CHANNEL: Final = {"$ref": "#/channels/socket"}


def document(commands: Mapping[str, Command] = COMMANDS, events: Mapping[str, Event] = EVENTS) -> dict[str, Any]:
    """The whole document. `receive` is what clients ask, `send` what they are told without asking."""
    maker = _Maker()
    operations: dict[str, Any] = {}
    hello = Command(
        roles=frozenset(),
        summary="首帧认证；重复发送用于续期令牌",
        args=schemas.Hello(),
        answer=schemas.Welcome(),
        run=lambda chat, session, request, args: {},
        errors=("unauthenticated",),
    )
    for op, command in {"hello": hello, **commands}.items():
        operations[op] = maker.operation(op, command)
    for name, event in events.items():
        # An op and an event may share a name (`typing`).
        title = f"{name}.event"
        message = maker.message(title, event.summary, _event(name, maker.reference(event.data)))
        operations[title] = {"action": "send", "channel": _CHANNEL, "summary": event.summary, "messages": [message]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "互联网医院",
            "version": "1",
            "description": "One socket for chat, calls and notices. A frame is one object or an array of objects, "
            f"both ways, in text, of at most {FRAME_BYTES} bytes and {BATCH} objects. The first request is hello, "
            "within 5 s.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "messages": maker.channel_messages,
                "bindings": {"ws": {"method": "GET"}},
                "x-close-codes": {str(int(code)): said for code, said in CLOSES.items()},
            }
        },
        "operations": operations,
        "components": {"messages": maker.messages, "schemas": maker.schemas() | {"Refusal": _refusal()}},
    }


class _Maker:
    """Gathers messages and schemas while the operations are written."""

    def __init__(self) -> None:
        plugin = MarshmallowPlugin(schema_name_resolver=_name)
        self._spec = APISpec(title="", version="", openapi_version="3.1.0", plugins=[plugin])
        plugin.map_to_openapi_type(Time, "string", "date-time")  # type: ignore[no-untyped-call]  # apispec's is not typed
        self.messages: dict[str, Any] = {}
        self.channel_messages: dict[str, Any] = {}

    def schemas(self) -> dict[str, Any]:
        """All that were referred to; a sent body is one of its kinds'."""
        bodies = [self.reference(body) for body in (schemas.TextBody(), schemas.MediaBody(), schemas.EmojiBody())]
        found = self._spec.to_dict().get("components", {}).get("schemas", {})
        written = {name: _plain(shape) for name, shape in sorted(found.items())}
        written["Send"]["properties"]["body"] = {"oneOf": bodies}
        return written

    def reference(self, schema: Schema) -> dict[str, Any]:
        name = type(schema).__name__
        if name not in self._spec.components.schemas:
            self._spec.components.schema(name, schema=schema)
        return {"$ref": f"#/components/schemas/{name}"}

    def message(self, name: str, summary: str, payload: dict[str, Any]) -> dict[str, str]:
        """Write down a message; its reference within the channel."""
        self.messages[name] = {"name": name, "summary": summary, "payload": payload}
        self.channel_messages[name] = {"$ref": f"#/components/messages/{_escaped(name)}"}
        return {"$ref": f"#/channels/socket/messages/{_escaped(name)}"}

    def operation(self, op: str, command: Command) -> dict[str, Any]:
        asked = self.message(op, command.summary, _request(op, self.reference(command.args)))
        answered = self.message(f"{op}.reply", f"{command.summary}的应答", _reply(self.reference(command.answer)))
        return {
            "action": "receive",
            "channel": _CHANNEL,
            "summary": command.summary,
            "messages": [asked],
            "reply": {"channel": _CHANNEL, "messages": [answered]},
            "x-roles": sorted(command.roles),
            "x-errors": sorted({*COMMON_ERRORS, *command.errors}),
        }


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _request(op: str, args: dict[str, Any]) -> dict[str, Any]:
    id_ = {"type": "string", "pattern": _portable(ID_FORM)}
    return _object(["id", "op"], {"id": id_, "op": {"const": op}, "args": args})


def _reply(data: dict[str, Any]) -> dict[str, Any]:
    done = _object(["re", "ok", "data"], {"re": {"type": "string"}, "ok": {"const": True}, "data": data})
    return {"oneOf": [done, {"$ref": "#/components/schemas/Refusal"}]}


def _refusal() -> dict[str, Any]:
    error = _object(
        ["code", "message"],
        {
            "code": {"type": "string", "enum": sorted(CODES)},
            "message": {"type": "string"},
            "retry_after_ms": {"type": "integer"},
        },
    )
    return _object(["re", "ok", "error"], {"re": {"type": "string"}, "ok": {"const": False}, "error": error})


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return _object(["ev", "data"], {"ev": {"const": name}, "data": data})


def _plain(shape: Any) -> Any:
    """A schema in JSON Schema's own words: no Python expressions, objects measured by their properties."""
    if isinstance(shape, dict):
        plain = {key: _portable(value) if key == "pattern" else _plain(value) for key, value in shape.items()}
        if "object" in plain.get("type", ()) and "maxLength" in plain:
            plain["maxProperties"] = plain.pop("maxLength")
        return plain
    return [_plain(one) for one in shape] if isinstance(shape, list) else shape


def _portable(pattern: str) -> str:
    return pattern.replace(r"\Z", "$")


def _escaped(name: str) -> str:
    """A name within a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return str(kind.__name__)
