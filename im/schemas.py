"""What the websocket speaks, as schemas: requests of each op, their answers, events. AsyncAPI is made from these."""

from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from core.data import table
from core.wire import ULID_FORM, Text, Time

# Closed with \Z: `$` would let a line break through at the end.
ID_FORM: Final = r"^[A-Za-z0-9_-]{1,64}\Z"
VISIT_FORM: Final = ULID_FORM.removesuffix("$") + r"\Z"
SEQ_HIGH: Final = 2**31 - 1
TEXT_HIGH: Final = 4_000
PAGE_HIGH: Final = 200
# So many conversations without a message fill half a frame.
CURSORS_HIGH: Final = 100
KINDS: Final = ("text", "image", "video", "emoji")
EMOJI: Final = frozenset(record["code"] for record in table("emoji"))


def conversation() -> fields.Str:
    """A conversation's id, which is its visit's."""
    return fields.Str(required=True, validate=validate.Regexp(VISIT_FORM))


def seq(low: int = 1) -> fields.Int:
    """A number in a conversation."""
    return fields.Int(required=True, strict=True, validate=validate.Range(low, SEQ_HIGH))


class TextBody(Schema):
    """Body of a text."""

    text = Text(required=True, validate=validate.Length(1, TEXT_HIGH))


class MediaBody(Schema):
    """Body of an image or a video: a finished medium of the sender's."""

    media = fields.Str(required=True, validate=validate.Regexp(VISIT_FORM))


class EmojiBody(Schema):
    """Body of an emoji: a code of the published table."""

    code = fields.Str(required=True, validate=validate.OneOf(sorted(EMOJI)))


BODIES: Final[dict[str, Schema]] = {
    "text": TextBody(),
    "image": MediaBody(),
    "video": MediaBody(),
    "emoji": EmojiBody(),
}


# --- requests --------------------------------------------------------------------------------------------------------


class Hello(Schema):
    """The first frame, and the renewal of the token."""

    token = fields.Str(required=True, validate=validate.Length(1, 4_096))
    device = fields.Str(
        required=True, validate=validate.Regexp(ID_FORM), metadata={"description": "made at random once and kept"}
    )
    client = fields.Str(
        load_default="", validate=validate.Length(max=200), metadata={"description": "name and version"}
    )


class Nothing(Schema):
    """An op without arguments, an answer without content."""


class Sync(Schema):
    """How far the client has each conversation; null: it has nothing, list all open ones."""

    cursors = fields.Dict(
        keys=fields.Str(validate=validate.Regexp(VISIT_FORM)),
        values=fields.Int(strict=True, validate=validate.Range(0, SEQ_HIGH)),
        required=True,
        allow_none=True,
        validate=validate.Length(max=CURSORS_HIGH),
    )
    limit = fields.Int(
        load_default=50,
        strict=True,
        validate=validate.Range(1, PAGE_HIGH),
        metadata={"description": "messages of one conversation; a frame's 64 KiB may end a page earlier"},
    )


class Send(Schema):
    """A message. `body` by kind: `{text}`, `{media}`, `{code}`."""

    conversation = conversation()
    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    body = fields.Dict(required=True)

    @validates_schema(skip_on_field_errors=True)
    def body_fits_kind(self, data: dict[str, object], **_: object) -> None:
        """The body has exactly its kind's field."""
        errors = BODIES[str(data["kind"])].validate(data["body"])  # type: ignore[arg-type]  # a dict: checked by the field
        if errors:
            raise ValidationError({"body": errors})

    @post_load
    def body_as_its_kind_reads_it(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        """A text is trimmed."""
        return {**data, "body": BODIES[data["kind"]].load(data["body"])}


class Line(Schema):
    """One message, by its number."""

    conversation = conversation()
    seq = seq()


class Room(Schema):
    """A conversation."""

    conversation = conversation()


# --- answers and events ----------------------------------------------------------------------------------------------


class Account(Schema):
    """Whose socket it is."""

    id = fields.Str(required=True)
    role = fields.Str(required=True)


class Limits(Schema):
    """What the server takes from one socket."""

    frame_bytes = fields.Int(required=True)
    batch = fields.Int(required=True)
    frames_per_second = fields.Int(required=True)
    messages_per_minute = fields.Int(required=True)
    text_characters = fields.Int(required=True)


class Welcome(Schema):
    """The answer to a hello."""

    session = fields.Str(required=True)
    account = fields.Nested(Account, required=True)
    server_time = Time(required=True)
    heartbeat_s = fields.Int(required=True)
    limits = fields.Nested(Limits, required=True)


class ServerTime(Schema):
    """The answer to a ping."""

    server_time = Time(required=True)


class Ack(Schema):
    """Where a message stands; `dup` when it had been stored before."""

    conversation = fields.Str(required=True)
    seq = fields.Int(required=True)
    id = fields.Str(required=True)
    at = Time(required=True)
    dup = fields.Bool(required=True)


class From(Schema):
    """Who said it; account and role are `system` for the hospital."""

    account = fields.Str(required=True)
    role = fields.Str(required=True)


class MessageView(Schema):
    """A message; a recalled one has `recalled` and no body."""

    conversation = fields.Str(required=True)
    seq = fields.Int(required=True)
    id = fields.Str(required=True)
    sender = fields.Nested(From, required=True, data_key="from", attribute="from")
    kind = fields.Str(required=True, validate=validate.OneOf((*KINDS, "system", "card")))
    body = fields.Dict(required=True, allow_none=True)
    at = fields.Str(required=True, metadata={"format": "date-time"})
    recalled = fields.Bool(metadata={"description": "only there when true"})


class VisitState(Schema):
    """The visit behind a conversation."""

    id = fields.Str(required=True)
    status = fields.Str(required=True)


class ConversationPage(Schema):
    """One conversation's share of a sync."""

    id = fields.Str(required=True)
    visit = fields.Nested(VisitState, required=True)
    call = fields.Dict(required=True, allow_none=True)
    last_seq = fields.Int(required=True)
    messages = fields.List(fields.Nested(MessageView), required=True)
    more = fields.Bool(required=True, metadata={"description": "go on with the last seq as the cursor"})
    read = fields.Dict(keys=fields.Str(), values=fields.Int(), required=True)


class SyncPage(Schema):
    """The answer to a sync; `more` when any conversation has more."""

    conversations = fields.List(fields.Nested(ConversationPage), required=True)
    more = fields.Bool(required=True)


class ReadMark(Schema):
    """How far a member has read."""

    conversation = fields.Str(required=True)
    account = fields.Str(required=True)
    seq = fields.Int(required=True)


class Typing(Schema):
    """A member is typing."""

    conversation = fields.Str(required=True)
    account = fields.Str(required=True)


class Replaced(Schema):
    """This device opened a newer socket; this one closes with 4003."""

    session = fields.Str(required=True, metadata={"description": "the newer one"})


class Drain(Schema):
    """This process is going away; the socket closes with 4012 after that time at the latest."""

    reconnect_after_ms = fields.Int(required=True)


class VisitUpdated(Schema):
    """A visit has moved."""

    visit = fields.Str(required=True)
    status = fields.Str(required=True)
    kind = fields.Str(required=True)


class OrderUpdated(Schema):
    """An order has moved."""

    order = fields.Str(required=True)
    status = fields.Str(required=True)


class DeskUpdated(Schema):
    """How many visits wait for the doctor, and how many are in progress."""

    waiting = fields.Int(required=True)
    accepted = fields.Int(required=True)


class History(Schema):
    """A stretch of a conversation, lowest number first."""

    items = fields.List(fields.Nested(MessageView), required=True)
    last_seq = fields.Int(required=True)
    more = fields.Bool(required=True, metadata={"description": "there are further ones in the direction asked for"})


class HistoryQuery(Schema):
    """`before` or `after` a seq, not both; neither: the latest."""

    before = fields.Int(load_default=None, validate=validate.Range(1, SEQ_HIGH))
    after = fields.Int(load_default=None, validate=validate.Range(0, SEQ_HIGH))
    limit = fields.Int(load_default=20, validate=validate.Range(1, 100))

    @validates_schema(skip_on_field_errors=True)
    def one_direction(self, data: dict[str, object], **_: object) -> None:
        """One of the two at most."""
        if data["before"] is not None and data["after"] is not None:
            raise ValidationError({"before": ["before 与 after 只能给出一个"]})
