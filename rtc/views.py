"""Calls as both ends see them."""

from datetime import datetime
from typing import Any

from core.wire import rfc3339
from rtc import parts, states
from storage.calls import Call


def shown(call: Call) -> dict[str, Any]:
    """`CallView` of the schemas: the object of the ops, of `call.ringing` and of `call.state`."""
    return {
        "id": call["_id"],
        "conversation": call["visit_id"],
        "media": call["media"],
        "state": call["status"],
        "version": call["version"],
        "reason": call["reason"],
        "started_at": _time(call["started_at"]),
        "ended_at": _time(call["ended_at"]),
        "expires_at": _time(call["deadline_at"]),
        "members": [
            {"account": account, "leg": call["legs"][side]["state"]}
            for account, side in zip(states.members_of(call), states.SIDES, strict=True)
        ],
        "recording": is_recording(call),
    }


def detail(call: Call) -> dict[str, Any]:
    """`CallDetail` of the schemas: with what was agreed to, what happened, and how good it was."""
    return {
        **shown(call),
        "created_at": _time(call["created_at"]),
        "consents": [
            {"account": one["account"], "kind": one["kind"], "version": one["version"], "at": _time(one["at"])}
            for one in call["consents"]
        ],
        "history": [
            {"act": step["act"], "role": step["role"], "at": _time(step["at"]), "to": step["to"]}
            for step in call["history"]
        ],
        "quality": [
            {
                "account": account,
                "sent": call["quality"].get(side),
                "received": call["quality"].get(f"{side}_received"),
            }
            for account, side in zip(states.members_of(call), states.SIDES, strict=True)
        ],
        "recorded": {
            "since": _time(call["recording_since"]),
            "state": parts.state(call),
            "segments": sum(1 for _ in parts.segments(call)),
            "faults": len(call["recorder_faults"]),
            "composed": parts.is_composed(call),
        },
    }


def recording(call: Call) -> dict[str, Any]:
    """`RecordingView` of the schemas: what there is to play, and what to ask for it by."""
    film = call["film"]
    return {
        "call": call["_id"],
        "state": parts.state(call),
        "retain_until": _time(call["retain_until"]),
        "faults": call["recording_faults"],
        "film": None
        if film is None or film["file"] is None
        else {
            "variant": parts.FILM,
            "made_at": _time(film["made_at"]),
            "complete": film["segments"] == sum(1 for _ in parts.segments(call)),
            **{name: film[name] for name in ("size", "duration", "sha256", "sm3")},
        },
        "segments": [
            {**one, "variant": parts.variant_of(room, one["name"]), "started_at": _time(one["started_at"])}
            for room, one in parts.segments(call)
        ],
        "timeline": [{**one, "at": _time(one["at"])} for one in parts.timeline(call)],
    }


def card(call: Call) -> dict[str, Any]:
    """What the chat keeps of a call that has ended; `seconds` of talking, 0 when nobody answered."""
    return {
        "card": "call_record",
        "call": call["_id"],
        "media": call["media"],
        "reason": call["reason"],
        "started_at": _time(call["started_at"]),
        "ended_at": _time(call["ended_at"]),
        "seconds": seconds_of(call),
    }


def seconds_of(call: Call) -> int:
    """How long the two could talk."""
    if call["started_at"] is None or call["ended_at"] is None:
        return 0
    return round((call["ended_at"] - call["started_at"]).total_seconds())


def is_recording(call: Call) -> bool:
    """Whether what is said is being recorded: from the first leg's connecting until the end (R3-5)."""
    return call["recording_since"] is not None and call["status"] != "ended"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
