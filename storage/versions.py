"""The `versions` collection: counters that change whenever a group of documents did, so that caches know."""

from storage.mongo import Store


class VersionRepository:
    """`_id` is the group's name (`directory`). A counter is raised after the change that it tells of is stored."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["versions"]

    async def current(self, name: str) -> int:
        """How often the group has changed; 0 when never."""
        found = await self._docs.find_one({"_id": name})
        return int(found["number"]) if found else 0

    async def increase(self, name: str) -> int:
        """Note a change; the number as it stands afterwards, others' changes included."""
        await self._docs.update_one({"_id": name}, {"$inc": {"number": 1}}, upsert=True)
        return await self.current(name)
