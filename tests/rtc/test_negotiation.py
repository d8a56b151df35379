"""Reading what was agreed upon."""

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from rtc.negotiation import Payload, codec_of, extension_id, formats_of, payloads_of, preferences
from rtc.outgoing import Codec, Format

SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
CODECS = [
    RTCRtpCodecParameters("video/VP8", 90_000, payloadType=96),
    RTCRtpCodecParameters("video/rtx", 90_000, payloadType=97, parameters={"apt": 96}),
    RTCRtpCodecParameters("video/H264", 90_000, payloadType=102, parameters={"profile-level-id": "42E01F"}),
]


def test_payload_types_are_told_apart_with_their_retransmissions():
    extensions = [RTCRtpHeaderExtensionParameters(id=4, uri=SEND_TIME)]
    assert payloads_of("video", CODECS, extensions) == {
        96: Payload("video", Codec("vp8"), 90_000, 4),
        97: Payload("video", Codec("vp8"), 90_000, None, 96),
        102: Payload("video", Codec("h264", "42e0"), 90_000, 4),
    }


def test_formats_come_in_the_order_of_the_answer():
    assert formats_of(CODECS) == (
        Format(Codec("vp8"), 96, 97, 90_000),
        Format(Codec("h264", "42e0"), 102, None, 90_000),
    )


def test_a_retransmission_of_an_unknown_format_is_none():
    assert payloads_of("video", [CODECS[1]], []) == {}


def test_only_extensions_that_fit_into_one_byte_are_passed_on():
    assert extension_id("video", [RTCRtpHeaderExtensionParameters(id=15, uri=SEND_TIME)]) is None
    assert extension_id("audio", [RTCRtpHeaderExtensionParameters(id=3, uri=SEND_TIME)]) is None


def test_what_the_other_leg_uses_comes_first():
    names = [codec_of(one).name for one in preferences("video")]
    assert names == ["vp8", "h264", "h264", "rtx"]
    assert codec_of(preferences("video", Codec("h264", "4200"))[0]) == Codec("h264", "4200")
    assert [codec_of(one).name for one in preferences("audio", Codec("vp8"))] == ["opus"]
