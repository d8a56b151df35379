"""Pure rules of the audit trail: what the steps of a document are as entries, and what makes a chain hold.

Digests are SHA-256 over JSON with sorted keys, without blanks, in UTF-8, times as on the wire: anybody can compute them
again from an export, with any program.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from core.auth import SYSTEM
from core.compliance import years_later
from core.ids import id_at
from core.wire import rfc3339
from storage.audit import UNSEALED, AuditEntry, Block, Sealed
from storage.calls import Reason

# Collection of documents that owe their steps to the trail → what one of them is called in it.
KINDS: Final[Mapping[str, str]] = {
    "visits": "visit",
    "orders": "order",
    "calls": "call",
    "patients": "patient",
    "accounts": "account",
    "doctors": "doctor",
    "departments": "department",
    "consult_types": "consult_type",
    "consent_texts": "consent_text",
    "settings_changes": "settings",
}
# Those whose `from` and `to` are states. Of the others they may be names and fees, which are nobody's business here.
STATED: Final = frozenset({"visits", "orders", "patients", "calls"})
# Documents that are never changed are one step themselves.
SINGLE: Final[Mapping[str, str]] = {"consent_texts": "consent_text.publish", "settings_changes": "settings.change"}

# The reasons that the hospital itself gives. What people give are words about somebody, and stay in the document.
OWN_WORDS: Final = frozenset({"timeout", "silent", "late_payment", "media_lost", *get_args(Reason)})

# What may be wrong with the chain, and how people read it.
FINDINGS: Final[Mapping[str, str]] = {
    "block_missing": "区块缺失",
    "block_altered": "区块内容被改动",
    "chain_broken": "与上一区块的衔接断开",
    "head_differs": "最后一个区块与封存记录不一致",
    "entry_missing": "审计记录缺失",
    "entry_altered": "审计记录被改动",
    "entry_alien": "审计记录未经封存而混入区块",
    "entry_unsealed": "审计记录超时未封存",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was sealed; `entry` where it is about an entry."""

    kind: str
    block: int | None
    entry: str | None = None

    @property
    def title(self) -> str:
        """As people read it."""
        return FINDINGS[self.kind]


def copied_steps(collection: str, document: Mapping[str, Any]) -> int | None:
    """How many steps the trail has once all of this document are copied; None: it is one step itself."""
    return None if collection in SINGLE else len(document["history"])


def entries_of(collection: str, document: Mapping[str, Any], years: int) -> list[AuditEntry]:
    """What the trail has not got of a document, each under an id that is the same however often it is copied."""
    if collection in SINGLE:
        return [_of_single(collection, document, years)]
    steps: Sequence[Mapping[str, Any]] = document["history"]
    first = document.get("audited_steps", 0)
    return [_of_step(collection, document["_id"], number, steps[number], years) for number in range(first, len(steps))]


def _of_single(collection: str, document: Mapping[str, Any], years: int) -> AuditEntry:
    by = document.get("actor") or document["created_by"]
    # Texts are published by the administrator or with the demonstration data; they do not keep the role.
    role = document.get("role") or (SYSTEM.role if by == SYSTEM.id else "admin")
    step = {"at": document.get("at") or document["created_at"], "actor": by, "role": role, "act": ""}
    entry = _of_step(collection, str(document["_id"]), 0, step, years)
    entry["act"] = SINGLE[collection]
    return entry


def _of_step(collection: str, id_: str, number: int, step: Mapping[str, Any], years: int) -> AuditEntry:
    kind, reason, states = KINDS[collection], step.get("reason"), collection in STATED
    return AuditEntry(
        _id=id_at(step["at"], f"{kind}:{id_}:{number}"),
        at=step["at"],
        actor=step["actor"],
        role=step["role"],
        act=f"{kind}.{step['act']}",
        subject=f"{kind}:{id_}",
        frm=step["frm"] if states else None,
        to=step["to"] if states else None,
        reason=reason if reason in OWN_WORDS else None,
        request=None,
        address=None,
        retain_until=years_later(step["at"], years),
        block=UNSEALED,
    )


def digest(entry: Mapping[str, Any]) -> str:
    """Of every field but the number of the block, which is written later."""
    return _sha256({name: value for name, value in entry.items() if name != "block"})


def block_hash(block: Mapping[str, Any]) -> str:
    """Of everything in a block but its hash."""
    return _sha256({name: value for name, value in block.items() if name != "hash"})


def _sha256(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> str:
    """Times as on the wire; what nobody of us writes, as Python shows it: it only must not be equal."""
    return rfc3339(value) if isinstance(value, datetime) else repr(value)


def next_block(number: int, previous: str, entries: Iterable[AuditEntry], at: datetime) -> Block:
    """The block of this number behind the one whose hash is `previous` (empty for the first)."""
    sealed = [Sealed(id=entry["_id"], digest=digest(entry)) for entry in entries]
    block = Block(_id=number, previous=previous, sealed_at=at, count=len(sealed), entries=sealed, hash="")
    block["hash"] = block_hash(block)
    return block


def faults_of(block: Block, previous: str, found: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What is wrong with a block, its place behind `previous`, and the entries that bear its number."""
    number, there = block["_id"], {entry["_id"]: entry for entry in found}
    faults: list[Finding] = []
    if block_hash(block) != block.get("hash"):
        faults.append(Finding("block_altered", number))
    if block.get("previous") != previous:
        faults.append(Finding("chain_broken", number))
    for sealed in block.get("entries", ()):
        entry = there.pop(sealed["id"], None)
        if entry is None:
            faults.append(Finding("entry_missing", number, sealed["id"]))
        elif digest(entry) != sealed["digest"]:
            faults.append(Finding("entry_altered", number, sealed["id"]))
    return faults + [Finding("entry_alien", number, str(id_)) for id_ in there]
