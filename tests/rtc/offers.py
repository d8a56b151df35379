"""Offers to take apart: one as browsers make it, and what can be wrong with it."""

from typing import Final

FINGERPRINT: Final = "sha-256 " + ":".join(["AB"] * 32)
_SECTION: Final = (
    "c=IN IP4 0.0.0.0",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:" + "p" * 24,
    f"a=fingerprint:{FINGERPRINT}",
    "a=setup:actpass",
    "a=sendrecv",
    "a=rtcp-mux",
)
GOOD: Final = (
    "v=0",
    "o=- 46117317 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    *_SECTION,
    "a=mid:0",
    "a=rtpmap:111 opus/48000/2",
    "a=ssrc:1 cname:x",
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    *_SECTION,
    "a=mid:1",
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:96 nack pli",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=ssrc-group:FID 2 3",
    "a=ssrc:2 cname:x",
    "a=ssrc:3 cname:x",
)


def text(*lines: str) -> str:
    """Lines as an offer."""
    return "\r\n".join(lines) + "\r\n"


def replaced(old: str, *new: str) -> str:
    """The good offer with other lines wherever this one was."""
    return text(*(one for line in GOOD for one in (new if line == old else (line,))))


CANDIDATE: Final = "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host"
# What is wrong → the word it is refused with.
HOSTILE: Final = {
    "": "malformed",
    "v=0": "media_sections",
    "\0" * 50: "malformed",
    "v=0\r\nm=audio": "media_sections",
    text(*GOOD)[:-1] + "\x1b[2J": "malformed",
    text(*GOOD, "a=name:咳嗽"): "malformed",
    text(*GOOD, "a=" + "x" * 3000): "too_large",
    text(*GOOD, *["a=x"] * 2000): "too_large",
    text(*GOOD, *["a=" + "x" * 1000] * 70): "too_large",
    text(*GOOD, *[CANDIDATE] * 41): "too_many_candidates",
    text(*GOOD[:5]): "media_sections",
    replaced("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=audio 9 UDP/TLS/RTP/SAVPF 96 97"): "media_sections",
    replaced("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"): "media_sections",
    replaced("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 9 RTP/AVP 96"): "media_sections",
    replaced("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 9 UDP/TLS/RTP/SAVPF" + " 96" * 90): "too_large",
    replaced("a=mid:1", "a=mid:0"): "media_sections",
    replaced("a=mid:1"): "media_sections",
    replaced("a=rtcp-mux"): "media_sections",
    replaced("a=group:BUNDLE 0 1"): "bundle",
    replaced("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0"): "bundle",
    replaced("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1"): "bundle",
    replaced("a=ice-ufrag:abcd"): "ice_credentials",
    replaced("a=ice-ufrag:abcd", "a=ice-ufrag:a b"): "ice_credentials",
    replaced("a=ice-pwd:" + "p" * 24, "a=ice-pwd:short"): "ice_credentials",
    replaced(f"a=fingerprint:{FINGERPRINT}"): "fingerprint",
    replaced(f"a=fingerprint:{FINGERPRINT}", "a=fingerprint:md5 AB"): "fingerprint",
    replaced("a=setup:actpass", "a=setup:passive"): "setup",
    replaced("a=setup:actpass"): "setup",
}
# What only the library's parser finds.
UNREADABLE: Final = {
    replaced("a=rtpmap:111 opus/48000/2", "a=rtpmap:111"): "malformed",
    replaced("a=ssrc:2 cname:x", "a=ssrc:two"): "malformed",
    replaced("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 speex/8000"): "no_common_codec",
    text(*GOOD, "a=candidate:1 1 udp"): "malformed",
    text(*GOOD, "a=extmap:x y"): "malformed",
}
