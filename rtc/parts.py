"""What a call's recording consists of, read off the call: its files, whether it is whole, what may be played. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from rtc import manifests
from storage.calls import Call, Film

State = Literal["none", "recording", "collecting", "stored", "faulty"]

Fault = Literal["uncollected", "nothing_recorded", "file_missing", "not_composed"]

FAULTS: Final = get_args(Fault)
PREFIX: Final = "recording:"
# Where the film stands among what can be played; segments go by their room and name.
FILM: Final = "film"
VARIANT_FORM: Final = r"^(film|[0-9a-f]{16}/(doctor|patient)-\d{1,10}-\d{1,10}\.(webm|mkv))\Z"
_FOLDER: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9a-f]{16})")
_MIMES: Final[Mapping[str, str]] = {"webm": "video/webm", "mkv": "video/x-matroska"}


@dataclass(frozen=True)
class Playable:
    """A file of a recording that may be given out; `sha256` in lower-case hexadecimal."""

    file_id: str
    name: str
    mime: str
    size: int
    sha256: str


def call_and_room(folder: str) -> tuple[str, str] | None:
    """Whose a folder of this name is; None: nobody's."""
    match = _FOLDER.fullmatch(folder)
    return (match[1], match[2]) if match else None


def file_of(call: str, room: str, name: str) -> str:
    """The id in the file store of what a room wrote."""
    return f"{PREFIX}{call}:{room}:{name}"


def film_of(call: str, token: str) -> str:
    """The id in the file store of the film that is made under this claim."""
    return file_of(call, FILM, f"{token}.mp4")


def call_of(file_id: str) -> str:
    """The call that a file's id names."""
    return file_id.removeprefix(PREFIX).partition(":")[0]


def metadata(call: Call, retain_until: datetime) -> dict[str, Any]:
    """What a file of a recording carries in the store: whose it is, and how long it must be kept (R5-2)."""
    return {"kind": "call_recording", "call": call["_id"], "retention": "call", "retain_until": retain_until}


def segments(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each room's id with each segment of it that is in the store, in the order of the rooms' opening."""
    for room, part in sorted(call["recordings"].items(), key=lambda one: (one[1]["opened_at"], one[0])):
        for segment in part["segments"]:
            yield room, segment


def timeline(call: Call) -> list[dict[str, Any]]:
    """What happened while it was recorded, as moments of the wall clock (`at`), of all rooms together."""
    moments = [
        {**moment, "at": part["began_at"] + timedelta(seconds=moment["offset"])}
        for part in call["recordings"].values()
        for moment in part["timeline"]
    ]
    return sorted(moments, key=lambda one: (one["at"], one["side"]))


def files(call: Call) -> dict[str, int | None]:
    """Every stored file that the call names, with its length where the call knows it."""
    named: dict[str, int | None] = {}
    for room, part in call["recordings"].items():
        of_room = dict.fromkeys(part["unreadable"])
        if part["collected_at"] is not None:
            of_room[manifests.NAME] = None
        named |= {file_of(call["_id"], room, name): size for name, size in of_room.items()}
    named |= {file_of(call["_id"], room, one["name"]): one["size"] for room, one in segments(call)}
    film = call["film"]
    if film is not None and film["file"] is not None:
        named[film["file"]] = film["size"]
    return named


def owns(call: Call | None, file_id: str) -> bool:
    """Whether a stored file is one that this call names, or will when what is under way has come to its end."""
    if call is None:
        return False
    film, room = call["film"], file_id.split(":")[2]
    if film is not None and film["claim"] is not None and file_id == film_of(call["_id"], film["claim"]):
        return True
    part = call["recordings"].get(room)
    return file_id in files(call) or (part is not None and part["collected_at"] is None)


def is_collected(call: Call) -> bool:
    """Whether the call is over and everything that any of its rooms wrote is in the store."""
    return call["status"] == "ended" and all(part["collected_at"] is not None for part in call["recordings"].values())


def faults(call: Call, stored: Mapping[str, int]) -> list[Fault]:
    """What is wrong with the recording of a call that ended a while ago; `stored` are lengths of files by id.

    `uncollected`: a room's files have not come to the store. `nothing_recorded`: the two talked and no segment tells
    of it. `file_missing`: a file is not in the store, or not as long as it was. `not_composed`: no film was to be made.
    """
    named, film = files(call), call["film"]
    found: dict[Fault, bool] = {
        "uncollected": not is_collected(call),
        "nothing_recorded": call["started_at"] is not None and not any(segments(call)),
        "file_missing": any(id_ not in stored or size not in (None, stored[id_]) for id_, size in named.items()),
        "not_composed": film is not None and film["next_at"] is None and film["file"] is None,
    }
    return [name for name, is_so in found.items() if is_so]


def state(call: Call) -> State:
    """How far the recording has come."""
    if not call["recordings"]:
        return "faulty" if call["recording_faults"] else "none"
    if call["status"] != "ended":
        return "recording"
    if call["recording_faults"]:
        return "faulty"
    return "stored" if is_collected(call) else "collecting"


def is_composed(call: Call) -> bool:
    """Whether there is a film to watch."""
    return call["film"] is not None and call["film"]["file"] is not None


def playable(call: Call, variant: str) -> Playable | None:
    """What stands behind a variant: the film, or a segment as `ROOM/NAME`; None: nothing."""
    film = call["film"]
    if variant == FILM:
        if film is None or film["file"] is None:
            return None
        mime = "video/mp4" if film["pictures"] else "audio/mp4"
        return Playable(film["file"], f"{call['_id']}.mp4", mime, film["size"], film["sha256"])
    for room, one in segments(call):
        if variant == variant_of(room, one["name"]):
            mime = _MIMES[one["name"].rpartition(".")[2]]
            file_id = file_of(call["_id"], room, one["name"])
            return Playable(file_id, f"{call['_id']}-{one['name']}", mime, one["size"], one["sha256"])
    return None


def variant_of(room: str, name: str) -> str:
    """How a segment is asked for."""
    return f"{room}/{name}"


def film_to_make(call: Call, now: datetime) -> Film | None:
    """The order for a film of all segments there are; None: there are none, or it is made or being made."""
    film, count = call["film"], sum(1 for _ in segments(call))
    if not count or (film is not None and (film["next_at"] is not None or film["segments"] == count)):
        return None
    fresh = Film(
        next_at=now, claim=None, attempts=0, error=None,
        file=None, segments=0, made_at=None, size=0, duration=0.0, pictures=0, sha256="", sm3="",
    )  # fmt: skip
    # The film of fewer segments is to be watched until the new one is there.
    return fresh if film is None else {**film, "next_at": now, "claim": None, "attempts": 0, "error": None}
