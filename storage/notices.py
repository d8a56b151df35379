"""The `notices` collection: what a member of a visit is still to be told outside of the app, one document a member.

It is a document of its own because a visit's duties run in their order: giving money back must not wait until a notice
may be sent, or until WeChat answers.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from storage.mongo import Store
from storage.moves import Duty, Moving

Receiver = Literal["patient", "doctor"]
Channel = Literal["subscribe", "sms"]
# Nothing is to be told; something is; it is being told by a subscribe message, or by a text message.
Status = Literal["quiet", "owed", "subscribe", "sms"]


class News(TypedDict):
    """How far something goes: the steps of the visit's history, and the number of the last message."""

    steps: int
    seq: int


class Notice(TypedDict):
    """`owed_steps` are the steps of the visit to be told of, `told` how far the receiver has been told.

    `noticed_at` is when a notice was last begun, `telling` how far it goes; `again`: something happened since it began.
    `outcome` is what became of the last one.
    """

    _id: str
    visit: str
    account: str
    receiver: Receiver
    status: Status
    version: int
    owed_steps: int
    told: News
    telling: News | None
    again: bool
    noticed_at: datetime | None
    outcome: dict[str, Any] | None
    duties: list[Duty]
    deadline_at: None
    created_at: datetime
    updated_at: datetime


def notice_id(visit: str, account: str) -> str:
    """The one notice of a member of a visit."""
    return f"{visit}:{account}"


class NoticeRepository(Moving):
    """Found by `_id` only, and by what is due."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.db["notices"])

    async def of(self, visit: str, account: str) -> Notice | None:
        """The notice of a member, if there ever was one."""
        return cast("Notice | None", await self.get(notice_id(visit, account)))

    async def change(
        self, seen: Notice, to: Status, *, at: datetime, values: Mapping[str, Any], duties: Collection[Duty] = ()
    ) -> Notice | None:
        """The notice after the change; None: it is not any more as it was seen."""
        as_seen = {"status": seen["status"], "version": seen["version"]}
        changed = await self.note(seen["_id"], at=at, duties=duties, set={**values, "status": to}, where=as_seen)
        return cast("Notice | None", changed)

    async def proceed(
        self, begun: Notice, to: Status, *, at: datetime, values: Mapping[str, Any], again: bool | None = None
    ) -> Notice | None:
        """The same for a notice that is being told, whatever happened meanwhile; `again` given: only if it is so.

        None: whoever took it over after a stop has gone on from there.
        """
        where: dict[str, Any] = {"status": begun["status"], "noticed_at": begun["noticed_at"]}
        if again is not None:
            where["again"] = again
        changed = await self.note(begun["_id"], at=at, set={**values, "status": to}, where=where)
        return cast("Notice | None", changed)
