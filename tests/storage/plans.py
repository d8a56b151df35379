"""Shows that queries use an index: record what a repository sends, then ask the server how it would run it.

    async with watched(mongo_uri, database) as (store, plans):
        await VisitRepository(store).of_doctor("d1")
        assert await plans.scans() == []

A filter that fixes `_id` is never a scan, though the embedded server explains `{_id, status}` as one; those are tested
to stay flat instead (`test_moves.py`).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymongo.monitoring import CommandListener, CommandStartedEvent

from storage.indexes import ensure_indexes
from storage.mongo import Store


class Plans(CommandListener):
    """What was asked of the server: (collection, filter) of every find, aggregate, count, update and delete."""

    def __init__(self) -> None:
        self.store: Store | None = None
        self.filters: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.filters += filters_of(event.command_name, event.command)

    def succeeded(self, event: Any) -> None:
        """Not needed."""

    def failed(self, event: Any) -> None:
        """Not needed."""

    def forget(self) -> None:
        """Leaves out what was asked so far, for instance while the test was being set up."""
        self.filters.clear()

    async def scans(self) -> list[str]:
        """What was asked since the beginning (or `forget`) that reads a whole collection, as `collection filter`."""
        asked = list(self.filters)
        return [f"{name} {sent}" for name, sent in asked if await is_scan(self.store, name, sent)]


def filters_of(name: str, command: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The filters by which one command finds its documents."""
    match name:
        case "find":
            return [(command["find"], command.get("filter", {}))]
        case "count" | "distinct":
            return [(command[name], command.get("query", {}))]
        case "aggregate":
            first = next(iter(command["pipeline"]), {})
            return [(command["aggregate"], first.get("$match", {}))]
        case "update" | "delete":
            return [(command[name], one["q"]) for one in command[f"{name}s"]]
        case "findAndModify":
            raise AssertionError("find_one_and_*: use update_one and matched_count")
    return []


async def is_scan(store: Store, collection: str, sent: Mapping[str, Any]) -> bool:
    """Whether the server would walk through all documents to answer this filter."""
    if "_id" in sent and not isinstance(sent["_id"], Mapping):
        return False
    told = await store.db.command({"explain": {"find": collection, "filter": dict(sent)}, "verbosity": "queryPlanner"})
    return "COLLSCAN" in _stages(told["queryPlanner"]["winningPlan"])


def _stages(plan: Mapping[str, Any]) -> set[str]:
    inner = [value for value in plan.values() if isinstance(value, Mapping)]
    inner += [one for value in plan.values() if isinstance(value, list) for one in value if isinstance(one, Mapping)]
    return {plan.get("stage", "")}.union(*(_stages(one) for one in inner))


@asynccontextmanager
async def watched(uri: str, database: str, driver="motor") -> AsyncIterator[tuple[Store, Plans]]:
    """A store with all indexes, and what is asked of it from here on."""
    plans = Plans()
    plans.store = await Store.open(uri, database, driver=driver, listeners=[plans])
    try:
        await ensure_indexes(plans.store)
        plans.forget()
        yield plans.store, plans
    finally:
        await plans.store.close()
