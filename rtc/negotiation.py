"""What a leg's answer agreed upon, in our words: payload types, header extensions, which codec comes first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.rtcrtpsender import RTCRtpSender

from rtc.outgoing import Codec, Format

# What every browser has; the first that both sides have is used. VP8 first: its frames need nothing but themselves.
PREFERRED: Final = {
    "audio": (Codec("opus"),),
    "video": (Codec("vp8"), Codec("h264", "42e0"), Codec("h264", "4200")),
}
# The far side's bandwidth estimate needs the sender's times; its level meter needs the sender's level.
_EXTENSIONS: Final = {
    "audio": "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "video": "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
}


@dataclass(frozen=True)
class Payload:
    """What a payload type of a leg means; `rtx_of` is the payload type that a retransmission stands for."""

    kind: str
    codec: Codec
    clock_rate: int
    extension_id: int | None
    rtx_of: int | None = None


def codec_of(parameters: RTCRtpCodecParameters | RTCRtpCodecCapability) -> Codec:
    """Its name and, for H264, its profile without the level."""
    profile = str(parameters.parameters.get("profile-level-id", ""))[:4].lower()
    return Codec(parameters.mimeType.partition("/")[2].lower(), profile)


def payloads_of(
    kind: str, codecs: Iterable[RTCRtpCodecParameters], extensions: Iterable[RTCRtpHeaderExtensionParameters]
) -> dict[int, Payload]:
    """By payload type."""
    extension = extension_id(kind, extensions)
    found: dict[int, Payload] = {}
    for one in codecs:
        number, original = _number(one), _original(one)
        if original is None:
            found[number] = Payload(kind, codec_of(one), one.clockRate, extension)
        elif original in found:
            base = found[original]
            found[number] = Payload(kind, base.codec, base.clock_rate, None, original)
    return found


def formats_of(codecs: Sequence[RTCRtpCodecParameters]) -> tuple[Format, ...]:
    """In the order of the answer, which is the leg's order of preference."""
    rtx = {original: _number(one) for one in codecs if (original := _original(one)) is not None}
    return tuple(
        Format(codec_of(one), _number(one), rtx.get(_number(one)), one.clockRate)
        for one in codecs
        if _original(one) is None
    )


def extension_id(kind: str, extensions: Iterable[RTCRtpHeaderExtensionParameters]) -> int | None:
    """Of the one header extension that is passed on; None when the leg has none, or one that needs longer headers."""
    return next((one.id for one in extensions if one.uri == _EXTENSIONS[kind] and 1 <= one.id <= 14), None)


def preferences(kind: str, first: Codec | None = None) -> list[RTCRtpCodecCapability]:
    """For `setCodecPreferences`: our order, but what the other leg already uses comes first; with retransmission."""
    capabilities = RTCRtpSender.getCapabilities(kind)
    assert capabilities is not None
    order = list(PREFERRED[kind])
    if first in order:
        order.remove(first)
        order.insert(0, first)
    known = {codec_of(one): one for one in capabilities.codecs if not _is_rtx(one)}
    return [known[codec] for codec in order] + [one for one in capabilities.codecs if _is_rtx(one)]


def _is_rtx(codec: Any) -> bool:
    return bool(codec.mimeType.lower() == "video/rtx")


def _number(codec: RTCRtpCodecParameters) -> int:
    """Its payload type, which every negotiated codec has."""
    assert codec.payloadType is not None
    return codec.payloadType


def _original(codec: RTCRtpCodecParameters) -> int | None:
    """The payload type that an RTX payload type retransmits; None for any other codec."""
    apt = codec.parameters.get("apt")
    return apt if _is_rtx(codec) and isinstance(apt, int) else None
