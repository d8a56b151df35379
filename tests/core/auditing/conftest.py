"""A house in which the audit trail is copied and sealed by the test's own hand: no worker runs in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core import audit
from core.auditing.chain import Chain
from core.auth import Actor
from core.ids import new_id
from tests.core.consulting import House, open_house

READER = Actor("reader", "doctor")
TRAIL = ("audit_entries", "audit_blocks", "audit_sealer")
SOURCES = ("visits", "orders", "patients", "accounts", "doctors", "departments", "consult_types")
SOURCES += ("consent_texts", "settings_changes")


@dataclass
class Trail:
    """The trail of a house, and ways to tamper with it."""

    house: House

    @property
    def ctx(self) -> Any:
        return self.house.ctx

    @property
    def entries(self) -> Any:
        return self.ctx.store.db["audit_entries"]

    @property
    def blocks(self) -> Any:
        return self.ctx.store.db["audit_blocks"]

    async def write(self, count: int = 1) -> list[str]:
        """Entries of different subjects, in their order."""
        subjects = [f"visit:{new_id()}" for _ in range(count)]
        await audit.append_all(self.ctx, [audit.Act(READER, "visit.read", subject) for subject in subjects])
        return subjects

    async def every(self) -> list[Any]:
        """All entries, oldest first."""
        return sorted(await self.entries.find({}).to_list(None), key=lambda one: one["_id"])

    async def about(self, subject: str) -> list[Any]:
        """The entries of one subject, oldest first."""
        return [one for one in await self.every() if one["subject"] == subject]

    async def findings(self) -> list[tuple[str, int | None]]:
        """What the check of the whole chain finds."""
        chain = Chain(self.ctx.audit_blocks, self.ctx.audit_entries)
        end = await chain.end()
        found = [fault async for _, faults in chain.faults(0, end) for fault in faults]
        return [(fault.kind, fault.block) for fault in [*found, *await chain.loose_ends(end)]]


@pytest.fixture(scope="module")
def _audited_house(io_loop, mongo_uri, redis_url, tmp_path_factory, request) -> Iterator[House]:
    name = f"trail_{request.module.__name__[-12:]}"
    opened = open_house(mongo_uri, redis_url, tmp_path_factory.mktemp("trail"), name.replace(".", "_"))
    yield io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def trail(io_loop, _audited_house) -> Trail:
    """An empty trail to which nothing is owed."""

    async def begin() -> None:
        for name in TRAIL:
            await _audited_house.ctx.store.db[name].delete_many({})
        for name in SOURCES:
            await _audited_house.ctx.store.db[name].update_many({}, {"$unset": {"unaudited_since": ""}})
        now = _audited_house.ctx.clock.now()
        await _audited_house.ctx.audit_blocks.take("one who is gone", now=now, until=now)

    io_loop.run_sync(begin)
    return Trail(_audited_house)
