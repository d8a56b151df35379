"""What strangers send us to connect with: offers and candidates, checked before a library sees them; ICE servers."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiortc import RTCIceCandidate, RTCIceServer
from aiortc.sdp import candidate_from_sdp

from rtc.media import IceServer, Media, OfferRefused

# Chromium's offer of sound and picture with every codec is 8 KiB.
OFFER_BYTES: Final = 64 * 1024
OFFER_LINES: Final = 1500
LINE_BYTES: Final = 2048
# A browser on a laptop with several networks has a dozen; each is checked from each of our addresses.
CANDIDATES: Final = 40
CANDIDATE_BYTES: Final = 512
FORMATS: Final = 64

_CREDENTIAL: Final = {"ufrag": re.compile(r"[A-Za-z0-9+/]{4,256}"), "pwd": re.compile(r"[A-Za-z0-9+/]{22,256}")}
_FINGERPRINT: Final = re.compile(r"(sha-256|sha-384|sha-512) [0-9A-F]{2}(:[0-9A-F]{2}){31,63}", re.IGNORECASE)
_MEDIA_LINE: Final = re.compile(r"(audio|video) \d{1,5} UDP/TLS/RTP/SAVPF((?: \d{1,3})+)")
_MID: Final = re.compile(r"[A-Za-z0-9_\-]{1,32}")


@dataclass
class Section:
    """One media section of an offer."""

    kind: Media
    mid: str = ""


@dataclass
class Offer:
    """An offer that may be given to the library: `sdp` has no candidates that only a local network could resolve."""

    sdp: str
    sections: list[Section] = field(default_factory=list)


def read_offer(sdp: str, media: Media) -> Offer:
    """Check an offer of at most one sound and, in a video call, at most one picture over one transport.

    Raises `OfferRefused`.
    """
    # Two bytes a character would hide what a limit on characters lets through.
    if not sdp.isascii():
        raise OfferRefused("malformed")
    if len(sdp) > OFFER_BYTES:
        raise OfferRefused("too_large")
    lines = sdp.replace("\r\n", "\n").split("\n")
    if len(lines) > OFFER_LINES or any(len(line) > LINE_BYTES for line in lines):
        raise OfferRefused("too_large")
    if lines[0] != "v=0" or any(line and not line.isprintable() for line in lines):
        raise OfferRefused("malformed")
    head, parts = _split(lines)
    sections = [_section(part, head) for part in parts]
    _require_call(sections, media)
    _require_bundle(head, sections)
    # Without the end of the list: behind a NAT a client is found by its own checks when all it named is out of reach.
    kept = [line for line in lines if not _is_unreachable(line) and line != "a=end-of-candidates"]
    if sum(line.startswith("a=candidate:") for line in kept) > CANDIDATES:
        raise OfferRefused("too_many_candidates")
    return Offer("\r\n".join(line for line in kept if line) + "\r\n", sections)


def _split(lines: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    head: list[str] = []
    parts: list[list[str]] = []
    for line in lines:
        if line.startswith("m="):
            parts.append([])
        (parts[-1] if parts else head).append(line)
    return head, parts


def _section(lines: Sequence[str], head: Sequence[str]) -> Section:
    described = _MEDIA_LINE.fullmatch(lines[0].removeprefix("m="))
    if described is None:
        raise OfferRefused("media_sections")
    if len(described[2].split()) > FORMATS:
        raise OfferRefused("too_large")
    for name, allowed in _CREDENTIAL.items():
        value = _attribute(f"ice-{name}", lines, head)
        if value is None or not allowed.fullmatch(value):
            raise OfferRefused("ice_credentials")
    fingerprints = [line for line in (*head, *lines) if line.startswith("a=fingerprint:")]
    if not fingerprints or not all(_FINGERPRINT.fullmatch(line[14:]) for line in fingerprints):
        raise OfferRefused("fingerprint")
    if _attribute("setup", lines, head) not in ("actpass", "active"):
        raise OfferRefused("setup")  # we are the passive side, so that browsers choose the cheaper cipher
    mid = _attribute("mid", lines, ())
    if mid is None or not _MID.fullmatch(mid) or "a=rtcp-mux" not in lines:
        raise OfferRefused("media_sections")
    return Section("audio" if described[1] == "audio" else "video", mid)


def _attribute(name: str, lines: Sequence[str], head: Sequence[str]) -> str | None:
    prefix = f"a={name}:"
    return next((line.removeprefix(prefix) for line in (*lines, *head) if line.startswith(prefix)), None)


def _require_call(sections: Sequence[Section], media: Media) -> None:
    kinds = [section.kind for section in sections]
    if not kinds or len(set(kinds)) != len(kinds) or len({section.mid for section in sections}) != len(sections):
        raise OfferRefused("media_sections")
    if media == "audio" and "video" in kinds:
        raise OfferRefused("video_in_audio_call")


def _require_bundle(head: Sequence[str], sections: Sequence[Section]) -> None:
    """One transport for all, and the first section's: what else a client may mean costs a second socket."""
    groups = [line.split()[1:] for line in head if line.split(" ", 1)[0] == "a=group:BUNDLE"]
    if groups != [[section.mid for section in sections]] and (groups or len(sections) > 1):
        raise OfferRefused("bundle")


def _is_unreachable(line: str) -> bool:
    """Names of the local network (mDNS): looking them up would hold the answer up for a second, in vain."""
    return line.startswith("a=candidate:") and _host(line).endswith(".local")


def _host(candidate: str) -> str:
    words = candidate.split(" ", 5)
    return words[4].lower() if len(words) > 4 else ""


def read_candidate(given: Mapping[str, Any], sections: Sequence[Section]) -> RTCIceCandidate | None:
    """One `RTCIceCandidateInit`; None for those of no use here: other protocols, local names, the end of the list.

    Raises `OfferRefused` for what is no candidate, or belongs to no section.
    """
    text = given.get("candidate")
    if not isinstance(text, str) or len(text) > CANDIDATE_BYTES or not text.isascii():
        raise OfferRefused("candidate")
    text = text.removeprefix("a=").removeprefix("candidate:").strip()
    if not text:
        return None
    try:
        candidate = candidate_from_sdp(text)
        address = ipaddress.ip_address(candidate.ip) if not candidate.ip.lower().endswith(".local") else None
    except (ValueError, AssertionError) as error:
        raise OfferRefused("candidate") from error
    if not 0 < candidate.port < 65536 or not 0 <= candidate.priority < 1 << 32:
        raise OfferRefused("candidate")
    mid, index = given.get("sdpMid"), given.get("sdpMLineIndex")
    known = mid in [section.mid for section in sections] or (type(index) is int and 0 <= index < len(sections))
    if not known:
        raise OfferRefused("candidate")
    if address is None or candidate.protocol.lower() != "udp" or candidate.component != 1:
        return None
    # All sections share the first one's transport.
    candidate.sdpMid, candidate.sdpMLineIndex = sections[0].mid, 0
    return candidate


def servers_of(ice_servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """As the library wants them; never None, which would mean a public STUN server of its own choice."""
    return [
        RTCIceServer(urls=list(server.urls), username=server.username, credential=server.credential)
        for server in ice_servers
    ]
