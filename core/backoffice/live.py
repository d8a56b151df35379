"""The hospital's numbers as the back office set them, in every process at once.

A change is stored, then told to every process; a process that missed the telling sees it in the store within
`POLL_SECONDS`. What the office set stands above the environment, what it took back does not.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import tasks
from core.backoffice import rules
from core.errors import AWAY, Invalid
from core.policy import LivePolicy, Policy

if TYPE_CHECKING:
    from storage.bus import Bus
    from storage.settings_changes import SettingsChange, SettingsChangeRepository

log = structlog.get_logger()

TOPIC: Final = "settings.changed"
POLL_SECONDS: Final = 3.0


class LiveSettings:
    """One a process. `policy` is the one object everybody reads; `start` loads it and keeps it fresh until `stop`."""

    def __init__(self, base: Policy, changes: "SettingsChangeRepository", bus: "Bus") -> None:
        self.base = base
        """What the environment and the product say."""
        self.policy = LivePolicy()
        self.policy.take(base)
        self.values: Mapping[str, int] = {}
        """What the office set."""
        self.number = 0
        """Of the last change that is in force here."""
        self.on_change: list[Callable[[], None]] = []
        """Called after a change: for who keeps something that was worked out from the numbers."""
        self._changes = changes
        self._bus = bus
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, poll_seconds: float = POLL_SECONDS) -> None:
        """Load, listen, look again from time to time; raises what the store raises when it is away."""
        await self.refresh()
        self._bus.on(TOPIC, self._told)
        self._keeper = tasks.spawn("settings.keep_fresh", self._keep_fresh(poll_seconds))

    async def stop(self) -> None:
        """Stop looking."""
        await tasks.stop(self._keeper)

    async def refresh(self) -> None:
        """Put the newest change in force."""
        last = await self._changes.last()
        if last is not None:
            self._put_in_force(last)

    async def changed(self, change: "SettingsChange") -> None:
        """To be called after a change is stored: in force here at once, in the other processes right after."""
        self._put_in_force(change)
        await self._bus.broadcast(TOPIC, {"number": change["_id"]})

    def _put_in_force(self, change: "SettingsChange") -> None:
        if change["_id"] <= self.number:
            return
        self.policy.take(effective(self.base, change["values"]))
        self.values, self.number = dict(change["values"]), change["_id"]
        for tell in self.on_change:
            tell()

    async def _told(self, payload: Mapping[str, Any]) -> None:
        if payload["number"] <= self.number:
            return
        try:
            await self.refresh()
        except AWAY as error:
            log.warning("settings.refresh_away", error=type(error).__name__)

    async def _keep_fresh(self, pause_seconds: float) -> None:
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                await self.refresh()
            except AWAY as error:
                log.warning("settings.poll_away", error=type(error).__name__)


def effective(base: Policy, values: Mapping[str, int]) -> Policy:
    """The numbers with the office's above the environment's.

    One that this version does not know, or no longer allows, is left out and logged: a narrower bound of a newer
    version holds at once, and a start does not fail on what an older one stored.
    """
    allowed: dict[str, int] = {}
    for name, value in values.items():
        try:
            rules.require_settable({name: value})
        except Invalid:
            log.warning("settings.left_out", name=name)
        else:
            allowed[name] = value
    policy = replace(base, **allowed)
    try:
        rules.require_consistent(policy)
    except Invalid:
        log.warning("settings.contradictory")
        return replace(policy, consult_fee_low=base.consult_fee_low, consult_fee_high=base.consult_fee_high)
    return policy
