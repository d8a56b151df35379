"""Duties and history: what a move owes, written in the same update as the move itself.

A service builds them here and hands them to the repository's `move`; `core/jobs.py` runs the duties. Nothing else in
the house remembers work to be done.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from core.auth import Actor
from storage.moves import HistoryEntry

# Seconds before try 2, 3, …; the last repeats. Together they span more than a day before a duty is given to a person.
BACKOFF: Final[Sequence[int]] = (2, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 43_200)
MAX_ATTEMPTS: Final = 14


class Later(Exception):
    """Raised by a duty that is not done yet and not failing: run it again in `seconds`, without counting a failure."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


def entry(actor: Actor, act: str, *, frm: str, to: str, at: datetime, reason: str | None = None) -> HistoryEntry:
    """One line of a document's history: who did what, when and why (R5-7)."""
    return {
        "at": at,
        "actor": actor.id,
        "role": actor.role,
        "act": act,
        "frm": frm,
        "to": to,
        "reason": reason,
    }


def next_try(attempts: int, now: datetime) -> datetime | None:
    """When a duty that failed `attempts` times is tried again; None: no more, a person must look."""
    if attempts >= MAX_ATTEMPTS:
        return None
    return now + timedelta(seconds=BACKOFF[min(attempts, len(BACKOFF)) - 1])
