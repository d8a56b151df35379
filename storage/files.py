"""Files in MongoDB, in GridFS's own form (collections `<bucket>.files` and `<bucket>.chunks`), so that any driver and
`mongofiles` read them. Both halves are written here because the drivers' do not fit: their upload stream keeps up to
48 MB back, their download stream has no end and differs between Motor and PyMongo.

Memory is flat: a writer holds one chunk, a reader four. An S3 store can take this class's place: same methods, same
errors.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from bson.binary import Binary

from storage.mongo import Document, Store

# The GridFS specification's own size: with its header a chunk stays below 256 KiB.
CHUNK_BYTES = 255 * 1024
_CHUNKS_A_READ = 4
_LISTED = 200


class FileMissing(LookupError):
    """No finished file has this id."""


class FileDamaged(Exception):
    """A finished file lacks a chunk, or has one of the wrong length: the store lost something."""


class FileWriter:
    """One upload: `write` as bytes come, then `finish`, or `abort`. Until `finish` there is no file for any reader."""

    def __init__(self, store: Store, bucket: str, file_id: str, metadata: Mapping[str, Any], at: datetime) -> None:
        self._files = store.db[f"{bucket}.files"]
        self._chunks = store.db[f"{bucket}.chunks"]
        self._id = file_id
        self._metadata = dict(metadata)
        self._at = at
        self._pending = bytearray()
        self._count = 0
        self._open = True

    async def write(self, data: bytes) -> None:
        """Stores every chunk that has become full; returns when they are stored."""
        if not self._open:
            raise ValueError("the upload is over")
        self._pending += data
        while len(self._pending) >= CHUNK_BYTES:
            await self._store(bytes(self._pending[:CHUNK_BYTES]))
            del self._pending[:CHUNK_BYTES]

    async def finish(self) -> int:
        """Makes the file readable; its length in bytes."""
        if not self._open:
            raise ValueError("the upload is over")
        length = self._count * CHUNK_BYTES + len(self._pending)
        if self._pending:
            await self._store(bytes(self._pending))
            self._pending.clear()
        await self._files.insert_one(
            {
                "_id": self._id,
                "length": length,
                "chunkSize": CHUNK_BYTES,
                "uploadDate": self._at,
                "filename": self._id,
                "metadata": self._metadata,
            }
        )
        self._open = False
        return length

    async def abort(self) -> None:
        """Takes back what this writer has stored; nothing after `finish`."""
        if self._open:
            self._open = False
            self._pending.clear()
            await self._chunks.delete_many({"files_id": self._id, "n": {"$lt": self._count}})

    async def _store(self, data: bytes) -> None:
        await self._chunks.insert_one({"files_id": self._id, "n": self._count, "data": Binary(data)})
        self._count += 1


class FileStore:
    """Files by id. Ids are never used twice; a finished file never changes."""

    def __init__(self, store: Store, bucket: str = "files") -> None:
        self._store = store
        self._bucket = bucket

    async def open_upload(self, file_id: str, *, at: datetime, metadata: Mapping[str, Any] | None = None) -> FileWriter:
        """Begins an upload at time `at`; what a crash left behind of the same id is cleared away first.

        Raises FileExistsError when there is a finished file. Of two uploads at once the slower fails with DuplicateKey.
        """
        if await self._find(file_id) is not None:
            raise FileExistsError(file_id)
        await self._store.db[f"{self._bucket}.chunks"].delete_many({"files_id": file_id})
        return FileWriter(self._store, self._bucket, file_id, metadata or {}, at)

    async def put(self, file_id: str, path: Path, *, at: datetime, metadata: Mapping[str, Any] | None = None) -> int:
        """Store a file of the disk that is not written any more; its length. One that is there already is left so.

        Raises OSError; FileExistsError when what is there has another length. For one holder of the path at a time.
        """
        try:
            writer = await self.open_upload(file_id, at=at, metadata=metadata)
        except FileExistsError:
            present, wanted = await self.size(file_id), (await asyncio.to_thread(path.stat)).st_size
            if present != wanted:
                raise
            return present
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    await writer.write(piece)
            return await writer.finish()
        finally:
            await writer.abort()

    async def fetch(self, file_id: str, path: Path) -> None:
        """Write a file to the disk. Raises FileMissing, FileDamaged, OSError."""
        with await asyncio.to_thread(path.open, "wb") as file:
            async with aclosing(await self.open_range(file_id)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)

    async def sizes(self, file_ids: Collection[str]) -> dict[str, int]:
        """Lengths in bytes of those of these files that there are."""
        asked = {"_id": {"$in": sorted(file_ids)}}
        found = await self._store.db[f"{self._bucket}.files"].find(asked, {"length": 1}).to_list(None)
        return {file["_id"]: file["length"] for file in found}

    async def names(self, prefix: str, *, until: datetime) -> AsyncIterator[list[str]]:
        """Ids that begin so of files that were finished before `until`, in lists of at most `_LISTED`."""
        asked = {"_id": {"$gte": prefix, "$lt": f"{prefix}\U0010ffff"}}
        cursor = self._store.db[f"{self._bucket}.files"].find(asked, {"uploadDate": 1}).batch_size(_LISTED)
        while batch := await cursor.to_list(_LISTED):
            yield [file["_id"] for file in batch if file["uploadDate"] < until]

    async def size(self, file_id: str) -> int:
        """Length in bytes. Raises FileMissing."""
        found = await self._find(file_id)
        if found is None:
            raise FileMissing(file_id)
        length: int = found["length"]
        return length

    async def open_range(self, file_id: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to, not including, `end` (None: to the last), in pieces of at most one chunk.

        The file is looked up now, so FileMissing comes before the first piece, as does ValueError for a range outside
        the file; only the chunks of the range are read, a few at a time. Raises FileDamaged in mid-stream.
        """
        found = await self._find(file_id)
        if found is None:
            raise FileMissing(file_id)
        stop = found["length"] if end is None else end
        if not 0 <= start <= stop <= found["length"]:
            raise ValueError(f"no range {start}-{stop} in a file of {found['length']} bytes")
        return self._pieces(found, start, stop)

    async def _pieces(self, found: Document, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        size: int = found["chunkSize"]
        last = -(-stop // size)
        for first in range(start // size, last if stop > start else 0, _CHUNKS_A_READ):
            until = min(first + _CHUNKS_A_READ, last)
            chunks = await self._chunks(found["_id"], first, until)
            for n, chunk in zip(range(first, until), chunks, strict=True):
                if chunk["n"] != n or len(chunk["data"]) != min(size, found["length"] - n * size):
                    raise FileDamaged(f"{found['_id']}: chunk {n}")
                yield bytes(chunk["data"][max(0, start - n * size) : stop - n * size])

    async def _chunks(self, file_id: str, first: int, until: int) -> list[Document]:
        span = {"files_id": file_id, "n": {"$gte": first, "$lt": until}}
        cursor = self._store.db[f"{self._bucket}.chunks"].find(span).sort("n", 1)
        chunks: list[Document] = await cursor.to_list(until - first)
        if len(chunks) != until - first:
            raise FileDamaged(f"{file_id}: {until - first - len(chunks)} of the chunks {first}-{until - 1} are missing")
        return chunks

    async def read(self, file_id: str) -> bytes:
        """A whole file in memory: for thumbnails and documents that are small by their kind."""
        pieces = await self.open_range(file_id)
        async with aclosing(pieces):
            return b"".join([piece async for piece in pieces])

    async def delete(self, file_id: str) -> bool:
        """Takes the file away, first its entry; False when there was none. Readers in the middle see FileDamaged."""
        gone = await self._store.db[f"{self._bucket}.files"].delete_one({"_id": file_id})
        await self._store.db[f"{self._bucket}.chunks"].delete_many({"files_id": file_id})
        return gone.deleted_count == 1

    async def _find(self, file_id: str) -> Document | None:
        found: Document | None = await self._store.db[f"{self._bucket}.files"].find_one({"_id": file_id})
        return found
