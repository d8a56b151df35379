"""When a notice may go out and what it says: that there is something in the app, never what.

No name, no illness, nothing that was written, and not even how the visit moved: the notice stands on locked screens.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from core.ids import CHINA
from core.ports import SmsTemplate
from storage.messages import Message
from storage.moves import HistoryEntry
from storage.notices import Receiver

Matter = Literal["message", "visit"]

# Who is told of a step of the visit when they are offline; whoever took the step knows of it.
CONCERNED: Final[Mapping[str, Receiver]] = {
    "submit": "doctor",
    "accept": "patient",
    "decline": "patient",
    "complete": "patient",
    "terminate": "patient",
    "refund": "patient",
}

# Each within 20 characters, what WeChat takes for a `thing`.
MATTERS: Final[Mapping[Receiver, Mapping[Matter, str]]] = {
    "patient": {"message": "您有一条新消息", "visit": "您的服务有新进展"},
    "doctor": {"message": "您有一条新消息", "visit": "您有新的待办事项"},
}
HINT: Final = "请打开小程序查看"
TEXTS: Final[Mapping[Receiver, SmsTemplate]] = {
    "patient": SmsTemplate.PATIENT_NOTICE,
    "doctor": SmsTemplate.STAFF_NOTICE,
}

# Who comes back within it, for instance because the network changed, gets no notice.
DELAY: Final = timedelta(seconds=5)
# An unread message this old whose notice nobody owes: the process that stored it was killed before it could owe it.
MISSED_AFTER: Final = timedelta(minutes=1)
MISSED_WITHIN: Final = timedelta(days=1)


def concerned(history: Sequence[HistoryEntry]) -> tuple[int, Receiver] | None:
    """The number of the newest step that moved the visit, and whom it concerns; None: nobody who would not know.

    Older steps have been overtaken: who is told of the newest reads them all.
    """
    for number in range(len(history), 0, -1):
        step = history[number - 1]
        if step["act"] in CONCERNED:
            return number, CONCERNED[step["act"]]
        if step["frm"] != step["to"]:
            return None
    return None


def values(receiver: Receiver, matter: Matter, at: datetime) -> dict[str, str]:
    """The words of a subscribe message: `matter`, `hint` and the time in China, `at`."""
    return {
        "matter": MATTERS[receiver][matter],
        "hint": HINT,
        "at": at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M"),
    }


def due_at(now: datetime, noticed_at: datetime | None, pause_seconds: int) -> datetime:
    """When something that happens now may be told of: soon, and not before the pause after the last notice is over."""
    soon = now + DELAY
    return soon if noticed_at is None else max(soon, noticed_at + timedelta(seconds=pause_seconds))


def left_of_pause(now: datetime, noticed_at: datetime | None, pause_seconds: int) -> float:
    """Seconds until the next notice may go out, 0 when it may now.

    A clock that was set back must not keep people waiting: the pause is never longer than it is.
    """
    if noticed_at is None:
        return 0.0
    left = (noticed_at - now).total_seconds() + pause_seconds
    return min(max(left, 0.0), float(pause_seconds))


def are_news(messages: Sequence[Message], account: str) -> bool:
    """Whether somebody else has said something there; the hospital's own lines are no news."""
    return any(one["account"] not in (account, "system") and one["recalled_at"] is None for one in messages)


def may_be_missed(messages: Sequence[Message], account: str, now: datetime) -> bool:
    """Whether another's message of the last day has waited longer than telling of it takes."""
    waited = [one for one in messages if MISSED_AFTER <= now - one["at"] <= MISSED_WITHIN]
    return are_news(waited, account)
