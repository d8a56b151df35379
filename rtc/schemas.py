"""Shapes of calls on the wire: what the ops take, what they and the events hold, what REST answers."""

from typing import Any, Final, get_args, get_type_hints

from marshmallow import Schema, ValidationError, fields, validate

from core.errors import TooLarge
from core.media.schemas import SignedQuery
from core.wire import ULID_FORM, Page, text
from rtc.media import Moment, Side
from rtc.parts import FAULTS, VARIANT_FORM, State
from storage.calls import LegState, Media, Reason, Status

ID_FORM: Final = ULID_FORM.removesuffix("$") + r"\Z"
# A browser's offer of both kinds has 5 to 8 kB; the answer must fit a frame of 64 KiB with it all.
SDP_BYTES: Final = 32 * 1024
CANDIDATE_BYTES: Final = 1_024
CANDIDATES: Final = 50
GENERATION_HIGH: Final = 2**31 - 1


def _call_id() -> fields.Str:
    return fields.Str(required=True, validate=validate.Regexp(ID_FORM))


def _generation() -> fields.Int:
    said = {"description": "from 1; a higher one replaces the leg"}
    return fields.Int(required=True, strict=True, validate=validate.Range(1, GENERATION_HIGH), metadata=said)


def _figure(high: float) -> fields.Float:
    return fields.Float(load_default=None, allow_none=True, allow_nan=False, validate=validate.Range(0, high))


class Bounded(fields.Str):
    """A text of at most `size` bytes in UTF-8; a longer one is refused as `too_large`."""

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(metadata={"description": f"at most {size} bytes"}, **kwargs)
        self.size = size

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        said = super()._deserialize(value, attr, data, **kwargs)
        try:
            size = len(said.encode())
        except UnicodeEncodeError as error:  # JSON can hold half characters
            raise ValidationError("含有无法识别的字符") from error
        if size > self.size:
            raise TooLarge
        return said


# --- the ops ---------------------------------------------------------------------------------------------------------


class Invite(Schema):
    """Whom to call, and with what."""

    conversation = fields.Str(required=True, validate=validate.Regexp(ID_FORM))
    media = fields.Str(required=True, validate=validate.OneOf(get_args(Media)))


class OneCall(Schema):
    """A call."""

    call = _call_id()


class RecordingConsent(Schema):
    """The version of the text `call_recording` (GET /consent-texts/call_recording) that was shown and agreed to."""

    version = fields.Str(required=True, validate=validate.Length(1, 40))


class Accept(OneCall):
    """Answering, with the consent to be recorded (R3-5)."""

    consent = fields.Nested(RecordingConsent, required=True)


class Offer(OneCall):
    """A session description (`RTCSessionDescription.sdp` of an offer)."""

    generation = _generation()
    sdp = Bounded(SDP_BYTES, required=True, validate=validate.Length(1))


class Candidate(Schema):
    """`RTCIceCandidateInit`; an empty candidate ends them."""

    candidate = Bounded(CANDIDATE_BYTES, required=True)
    sdpMid = fields.Str(load_default=None, allow_none=True, validate=validate.Length(max=64))  # noqa: N815 - the browsers' name
    sdpMLineIndex = fields.Int(  # noqa: N815 - the browsers' name
        load_default=None, allow_none=True, strict=True, validate=validate.Range(0, 64)
    )
    usernameFragment = fields.Str(load_default=None, allow_none=True, validate=validate.Length(max=256))  # noqa: N815 - the browsers' name


class Candidates(OneCall):
    """Further candidates of a leg."""

    generation = _generation()
    candidates = fields.List(fields.Nested(Candidate), required=True, validate=validate.Length(1, CANDIDATES))


class Stats(OneCall):
    """What the client measures of what it receives: a fraction, seconds, seconds, bits per second."""

    loss = _figure(1)
    jitter = _figure(60)
    round_trip = _figure(60)
    bitrate = _figure(10**10)


# --- answers and events ----------------------------------------------------------------------------------------------


def _time() -> fields.Str:
    return fields.Str(required=True, allow_none=True, metadata={"format": "date-time"})


class MemberView(Schema):
    """One of the two; a `lost` leg is to be offered anew, with a higher generation."""

    account = fields.Str(required=True)
    leg = fields.Str(required=True, validate=validate.OneOf(get_args(LegState)))


class CallView(Schema):
    """A call; the one with the higher `version` is the newer. `recording`: what is said is being recorded."""

    id = fields.Str(required=True)
    conversation = fields.Str(required=True)
    media = fields.Str(required=True, validate=validate.OneOf(get_args(Media)))
    state = fields.Str(required=True, validate=validate.OneOf(get_args(Status)))
    version = fields.Int(required=True)
    reason = fields.Str(required=True, allow_none=True, validate=validate.OneOf((*get_args(Reason), None)))
    started_at = _time()
    ended_at = _time()
    expires_at = _time()
    members = fields.List(fields.Nested(MemberView), required=True)
    recording = fields.Bool(required=True)


class IceServerView(Schema):
    """`RTCIceServer`; the credential is this leg's and ends by itself."""

    urls = fields.List(fields.Str(), required=True)
    username = fields.Str()
    credential = fields.Str()


class AnswerView(Schema):
    """The server's answer to an offer."""

    generation = fields.Int(required=True)
    sdp = fields.Str(required=True)
    ice_servers = fields.List(fields.Nested(IceServerView), required=True)


class QualityView(Schema):
    """What one side sent over the last five seconds; `silent`: nothing has come of it for three."""

    call = fields.Str(required=True)
    account = fields.Str(required=True)
    silent = fields.Bool(required=True)
    loss = fields.Float(required=True, allow_none=True)
    jitter = fields.Float(required=True, allow_none=True)
    round_trip = fields.Float(required=True, allow_none=True)
    bitrate = fields.Int(required=True, allow_none=True)


class Done(Schema):
    """An answer without content."""


# --- REST ------------------------------------------------------------------------------------------------------------


class CallQuery(Page):
    """Query of GET /visits/{id}/calls."""


class AgreedView(Schema):
    """Which text on recording was agreed to, by whom and when."""

    account = fields.Str(required=True)
    kind = fields.Str(required=True)
    version = fields.Str(required=True)
    at = _time()


class CallStepView(Schema):
    """One step of a call's life."""

    act = fields.Str(required=True)
    role = fields.Str(required=True)
    to = fields.Str(required=True)
    at = _time()


class FigureView(Schema):
    """One figure over a whole call."""

    samples = fields.Int(required=True)
    mean = fields.Float(required=True)
    worst = fields.Float(required=True)


class FiguresView(Schema):
    """Measured of one stream: a fraction, seconds, seconds, bits per second; the worst bitrate is its lowest."""

    loss = fields.Nested(FigureView, required=True)
    jitter = fields.Nested(FigureView, required=True)
    round_trip = fields.Nested(FigureView, required=True)
    bitrate = fields.Nested(FigureView, required=True)


class SideQualityView(Schema):
    """One side over the whole call: what it sent, measured here, and what it received, measured by its client."""

    account = fields.Str(required=True)
    sent = fields.Nested(FiguresView, required=True, allow_none=True)
    received = fields.Nested(FiguresView, required=True, allow_none=True)


class RecordedView(Schema):
    """What there is of a recording; `faults` are recorders that broke and went on in a new segment.

    `state`: `recording` while the call lives, `collecting` until all its segments are stored, then `stored`; `faulty`
    when something of it is missing. `composed`: there is one film of all segments.
    """

    since = _time()
    state = fields.Str(required=True, validate=validate.OneOf(get_args(State)))
    segments = fields.Int(required=True)
    faults = fields.Int(required=True)
    composed = fields.Bool(required=True)


class CallDetail(CallView):
    """A call with what was agreed to, what happened, and how good it was."""

    created_at = _time()
    consents = fields.List(fields.Nested(AgreedView), required=True)
    history = fields.List(fields.Nested(CallStepView), required=True)
    quality = fields.List(fields.Nested(SideQualityView), required=True)
    recorded = fields.Nested(RecordedView, required=True)


class FileView(Schema):
    """A file of a recording: bytes, seconds, digests in hexadecimal, and the name it is asked for by."""

    variant = fields.Str(required=True)
    size = fields.Int(required=True)
    duration = fields.Float(required=True)
    sha256 = fields.Str(required=True)
    sm3 = fields.Str(required=True)


class FilmView(FileView):
    """Both sides in one file; not `complete`: segments have come since it was made, a new one follows."""

    made_at = _time()
    complete = fields.Bool(required=True)


class SegmentView(FileView):
    """What one side sent while one generation of its leg lived."""

    side = fields.Str(required=True, validate=validate.OneOf(get_args(Side)))
    generation = fields.Int(required=True)
    started_at = _time()


class MomentView(Schema):
    """Something that happened while it was recorded; `seconds` of a gap."""

    at = _time()
    side = fields.Str(required=True, validate=validate.OneOf(get_args(Side)))
    what = fields.Str(required=True, validate=validate.OneOf(get_args(get_type_hints(Moment)["what"])))
    generation = fields.Int(required=True)
    seconds = fields.Float(required=True, allow_none=True)


class RecordingView(Schema):
    """A call's recording; `faults` are what the last reconciliation found wrong."""

    call = fields.Str(required=True)
    state = fields.Str(required=True, validate=validate.OneOf(get_args(State)))
    retain_until = _time()
    faults = fields.List(fields.Str(validate=validate.OneOf(FAULTS)), required=True)
    film = fields.Nested(FilmView, required=True, allow_none=True)
    segments = fields.List(fields.Nested(SegmentView), required=True)
    timeline = fields.List(fields.Nested(MomentView), required=True)


def _variant(**how: Any) -> fields.Str:
    said = {"description": "film, or the variant of a segment"}
    return fields.Str(validate=validate.Regexp(VARIANT_FORM), metadata=said, **how)


class AskRecording(Schema):
    """Body of POST /calls/{id}/recording/links; the reason is kept with the call."""

    variant = _variant(load_default="film")
    reason = text(1, 200, required=True)


class SignedRecording(SignedQuery):
    """What a signed link of a recording carries."""

    variant = _variant(required=True)
