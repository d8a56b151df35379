"""A message on its way: what is stored of it, what is shown of it, and how the two are told apart from a repeat.

Bodies are medical data and are sealed at rest (R6-5).
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.ports import Posted
from core.wire import rfc3339

if TYPE_CHECKING:
    from storage.encryption import FieldCipher
    from storage.messages import Message

SEALED_FIELD: Final = "message.body"
SYSTEM: Final = "system"
# Joins the parts of a message's key; no id, device or cause may hold it.
_JOINT: Final = "/"
_CAUSE: Final = re.compile(r"[A-Za-z0-9_:.-]{1,200}")


@dataclass(slots=True, eq=False)
class Entry:
    """One message that waits for the journal; `future` becomes its `Posted`, or the refusal.

    `queued_at` is of the loop's clock; `tried_at` the time its first write carried, which later ones repeat;
    `is_unsure` when nobody knows what became of a write.
    """

    id: str
    conversation: str
    account: str
    role: str
    kind: str
    body: Mapping[str, Any]
    sealed: str
    to: list[str]
    future: "asyncio.Future[Posted]"
    queued_at: float
    tried_at: datetime | None = None
    is_unsure: bool = False


def key_of(account: str, device: str, conversation: str, request: str) -> str:
    """The key under which a person's message is stored once for ever."""
    return _JOINT.join((account, device, conversation, request))


def system_key(conversation: str, cause: str) -> str:
    """The key of what the hospital itself says, by its cause; ValueError when that is not of the form."""
    if _CAUSE.fullmatch(cause) is None:
        raise ValueError(f"a cause has 1 to 200 of A-Z a-z 0-9 _ : . -, not {cause!r}")
    return _JOINT.join((SYSTEM, cause, conversation))


def public_id(key: str) -> str:
    """A message's id on the wire: the same for ever, and without the sender's device in it."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def seal(cipher: "FieldCipher", body: Mapping[str, Any]) -> str:
    """The body as it is stored."""
    return cipher.seal(json.dumps(body, ensure_ascii=False, separators=(",", ":")), field=SEALED_FIELD)


def unseal(cipher: "FieldCipher", message: "Message") -> dict[str, Any]:
    """The body of a stored message."""
    body: dict[str, Any] = json.loads(cipher.open(message["body"], field=SEALED_FIELD))
    return body


def document(entry: Entry, seq: int, at: datetime, retain_years: int) -> "Message":
    """What is stored."""
    return {
        "_id": entry.id,
        "conversation": entry.conversation,
        "seq": seq,
        "account": entry.account,
        "role": entry.role,
        "kind": entry.kind,
        "body": entry.sealed,
        "at": at,
        "recalled_at": None,
        # Leap years counted in: never a day short of the years the rule asks for (R5-2).
        "retain_until": at + timedelta(days=366 * retain_years),
    }


def is_same_said(stored: "Message", kind: str, body: Mapping[str, Any], cipher: "FieldCipher") -> bool:
    """Whether a repeat says what was said the first time; what the hospital says is known by its cause alone."""
    if stored["account"] == SYSTEM:
        return True
    return stored["kind"] == kind and unseal(cipher, stored) == body


def posted(stored: "Message", *, dup: bool) -> Posted:
    """Where a stored message stands."""
    return Posted(stored["conversation"], stored["seq"], public_id(stored["_id"]), stored["at"], dup)


def ack(place: Posted) -> dict[str, Any]:
    """`Ack` of the schemas: a repeat differs from the first in `dup` alone."""
    return {
        "conversation": place.conversation,
        "seq": place.seq,
        "id": place.id,
        "at": rfc3339(place.at),
        "dup": place.dup,
    }


def shown(message: "Message", body: Mapping[str, Any] | None) -> dict[str, Any]:
    """`MessageView` of the schemas; None as body for a recalled one."""
    view: dict[str, Any] = {
        "conversation": message["conversation"],
        "seq": message["seq"],
        "id": public_id(message["_id"]),
        "from": {"account": message["account"], "role": message["role"]},
        "kind": message["kind"],
        "body": body,
        "at": rfc3339(message["at"]),
    }
    if body is None:
        view["recalled"] = True
    return view


def read(cipher: "FieldCipher", message: "Message") -> dict[str, Any]:
    """A stored message as members see it: what was recalled is kept, but not shown."""
    return shown(message, None if message["recalled_at"] is not None else unseal(cipher, message))
