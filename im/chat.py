"""What the chat's services work with: the collaborators of one process."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from im.limits import Allowance, Pause

if TYPE_CHECKING:
    from core.context import Context
    from im.journal import Journal

TYPING_SECONDS: Final = 3.0


class Chat:
    """The chat of one process. `typing` and `sends` are counted here alone: another process counts for itself."""

    def __init__(self, ctx: "Context") -> None:
        loop = asyncio.get_event_loop()
        self.ctx = ctx
        # Every process wires the journal of this package into its context; core knows it by its port.
        self.journal = cast("Journal", ctx.journal)
        self.standings = self.journal.standings
        self.marks = self.journal.marks
        self.sends = Allowance(ctx.policy.socket_messages_per_minute, loop.time)
        self.typing = Pause(TYPING_SECONDS, loop.time)
