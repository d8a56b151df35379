"""Refuses to work with an aiortc whose inside differs from the one that `rtc.leg` hooks into.

We replace methods of single connections, which no version number promises to keep. Each hook is named here with what
must be found, so that an upgrade fails at the start with a list and not in a call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

import aioice.ice
import aiortc
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender

VERSION: Final = "1.16."


class UnknownAiortc(RuntimeError):
    """This aiortc is not the one that was measured; the message names what differs."""


@dataclass(frozen=True)
class Hook:
    """One place we rely on: the function whose code must use every one of `names`."""

    what: str
    function: Callable[[], Any]
    names: tuple[str, ...]

    def holds(self) -> bool:
        """Whether the installed library has it."""
        try:
            return set(self.names) <= _names(self.function().__code__)
        except AttributeError:
            return False


def _names(code: CodeType) -> set[str]:
    """Every name that a function and those defined inside it mention."""
    inner = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return {*code.co_names, *code.co_varnames, *code.co_freevars}.union(*inner)


def _of(owner: Any, name: str) -> Callable[[], Any]:
    return lambda: getattr(owner, name)


HOOKS: Final = (
    Hook(
        "RTCPeerConnection starts media with sender.send and receiver.receive",
        _of(aiortc.RTCPeerConnection, "_RTCPeerConnection__connect"),
        ("sender", "send", "receiver", "receive", "_RTCPeerConnection__localRtp", "_RTCPeerConnection__remoteRtp"),
    ),
    Hook(
        "RTCPeerConnection answers with the role set on the DTLS transport",
        _of(aiortc.RTCPeerConnection, "createAnswer"),
        ("_role", "role"),
    ),
    Hook("RTCRtpSender has its SSRCs from the start", _of(RTCRtpSender, "__init__"), ("_ssrc", "_rtx_ssrc")),
    Hook("RTCRtpSender.stop does nothing before send", _of(RTCRtpSender, "stop"), ("_RTCRtpSender__started",)),
    Hook("RTCRtpReceiver.stop does nothing before receive", _of(RTCRtpReceiver, "stop"), ("_RTCRtpReceiver__started",)),
    Hook("RTCDtlsTransport._set_role sets the role", _of(RTCDtlsTransport, "_set_role"), ("_role",)),
    Hook(
        "RTCDtlsTransport keeps its SRTP sessions",
        _of(RTCDtlsTransport, "_setup_srtp"),
        ("_rx_srtp", "_tx_srtp", "_ssl", "get_selected_srtp_profile"),
    ),
    Hook("RTCDtlsTransport reads datagrams from the ICE transport", _of(RTCDtlsTransport, "_recv_next"), ("_recv",)),
    Hook("RTCIceTransport keeps its connection", _of(RTCIceTransport, "__init__"), ("_connection",)),
    Hook("RTCIceGatherer gathers with the connection", _of(RTCIceGatherer, "gather"), ("gather_candidates",)),
    Hook(
        "aioice keeps its protocols and the nominated pairs",
        _of(aioice.ice.Connection, "__init__"),
        ("_protocols", "_nominated", "_queue", "_remote_candidates"),
    ),
    Hook(
        "aioice gathers by get_component_candidates(component, addresses, timeout)",
        _of(aioice.ice.Connection, "get_component_candidates"),
        ("component", "addresses", "timeout"),
    ),
    Hook(
        "aioice hands every datagram to StunProtocol.datagram_received(data, addr)",
        _of(aioice.ice.StunProtocol, "datagram_received"),
        ("data", "addr", "parse_message", "data_received"),
    ),
    Hook(
        "aioice pairs know where to send",
        _of(aioice.ice.CandidatePair.__dict__["remote_addr"], "fget"),
        ("_network_host", "port"),
    ),
)


def require_known(version: str = aiortc.__version__, hooks: Sequence[Hook] = HOOKS) -> None:
    """Raises `UnknownAiortc` unless the version is ours and every hook is in its place."""
    differs = [hook.what for hook in hooks if not hook.holds()]
    if not version.startswith(VERSION):
        differs.insert(0, f"version {version} is not {VERSION}x")
    if differs:
        raise UnknownAiortc(f"cannot carry calls with this aiortc: {'; '.join(differs)}")
