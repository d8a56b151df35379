"""The indexes of `storage/indexes.py`; again whenever that table changes."""

from storage import indexes
from storage.migrations import MigrationContext
from storage.mongo import Store


async def up(store: Store, context: MigrationContext) -> None:
    """Makes the indexes that are missing."""
    await indexes.ensure_indexes(store)


def fingerprint() -> str:
    """Of the table as it stands."""
    return indexes.fingerprint()
