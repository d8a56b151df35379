"""The bytes of uploads that are not whole yet: pieces in a chain, each beginning where the one before it ends.

A piece is one document, unique by its upload and the place where it begins. So the store itself decides which of two
writers goes on at a place, what is stored is what counts whatever happened to who stored it, and nothing is ever
overwritten or half there.
"""

from collections.abc import AsyncGenerator

from bson.binary import Binary

from storage.mongo import DuplicateKey, Store

# As large as the parts of finished files: a document stays well below what any server takes at once.
PIECE_BYTES = 255 * 1024


class PieceMissing(LookupError):
    """The chain ends too early: the upload was taken away, or the store lost something."""


class PieceStore:
    """The `upload_pieces` collection. Unique index: (upload, at)."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["upload_pieces"]

    async def add(self, upload_id: str, at: int, data: bytes) -> bool:
        """Store what begins at byte `at`, durably; False: another piece begins there already, and stays."""
        try:
            await self._docs.insert_one({"upload": upload_id, "at": at, "size": len(data), "data": Binary(data)})
        except DuplicateKey:
            return False
        return True

    async def end(self, upload_id: str, start: int) -> int:
        """Where the chain ends, followed from `start`, at which one of its pieces is known to end."""
        while found := await self._docs.find_one({"upload": upload_id, "at": start}, {"size": 1}):
            start += found["size"]
        return start

    async def read(self, upload_id: str, until: int) -> AsyncGenerator[bytes, None]:
        """The bytes from the first up to, not including, `until`, a piece at a time. Raises PieceMissing."""
        at = 0
        while at < until:
            found = await self._docs.find_one({"upload": upload_id, "at": at})
            if found is None:
                raise PieceMissing(f"{upload_id}: nothing begins at {at}")
            yield bytes(found["data"][: until - at])
            at += found["size"]

    async def delete(self, upload_id: str) -> None:
        """Take all pieces of the upload away."""
        await self._docs.delete_many({"upload": upload_id})
