"""What a change of a document leaves in its history: one line for each field, from what to what, by whom (R5-7)."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core import outbox
from core.auth import Caller
from storage.moves import HistoryEntry


def differing(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wanted values that are not so already."""
    return {name: value for name, value in wanted.items() if before.get(name) != value}


def entries(
    caller: Caller, before: Mapping[str, Any], values: Mapping[str, Any], *, at: datetime
) -> list[HistoryEntry]:
    """`change_<field>` for each value."""
    return [
        outbox.entry(caller.actor, f"change_{name}", frm=as_text(before.get(name)), to=as_text(value), at=at)
        for name, value in values.items()
    ]


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
