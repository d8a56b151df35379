import asyncio

import pytest

from core.ids import new_id
from storage.indexes import INDEXES, ensure_indexes
from storage.pieces import PIECE_BYTES, PieceMissing, PieceStore
from tests.storage.plans import watched


@pytest.fixture(scope="module")
def pieces(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store, {"upload_pieces": INDEXES["upload_pieces"]}))
    return PieceStore(store)


async def add_all(pieces, *parts: bytes) -> str:
    upload, at = new_id(), 0
    for part in parts:
        assert await pieces.add(upload, at, part)
        at += len(part)
    return upload


async def read(pieces, upload: str, until: int) -> bytes:
    return b"".join([piece async for piece in pieces.read(upload, until)])


@pytest.mark.gen_test
async def test_pieces_of_any_size_are_read_as_one(pieces):
    upload = await add_all(pieces, b"a", b"bc" * PIECE_BYTES, b"def")
    whole = b"a" + b"bc" * PIECE_BYTES + b"def"
    for until in (0, 1, 5, len(whole)):
        assert await read(pieces, upload, until) == whole[:until]


@pytest.mark.gen_test
async def test_of_many_at_one_place_one_is_stored_and_stays(pieces):
    upload = new_id()
    done = await asyncio.gather(*(pieces.add(upload, 0, bytes([n]) * 5) for n in range(8)))
    assert done.count(True) == 1
    assert await read(pieces, upload, 5) == bytes([done.index(True)]) * 5


@pytest.mark.gen_test
async def test_the_end_is_found_from_wherever_it_is_looked_for(pieces):
    upload = await add_all(pieces, b"abc", b"de", b"f")
    assert [await pieces.end(upload, start) for start in (0, 3, 5, 6)] == [6] * 4
    assert await pieces.end(new_id(), 0) == 0
    assert await pieces.add(upload, 9, b"beyond a gap")
    assert await pieces.end(upload, 0) == 6


@pytest.mark.gen_test
async def test_a_missing_piece_is_told(pieces):
    upload = await add_all(pieces, b"abc")
    with pytest.raises(PieceMissing):
        await read(pieces, upload, 4)


@pytest.mark.gen_test
async def test_only_the_pieces_of_one_upload_are_deleted(pieces):
    gone, kept = await add_all(pieces, b"abc", b"d"), await add_all(pieces, b"xyz")
    await pieces.delete(gone)
    assert (await pieces.end(gone, 0), await pieces.end(kept, 0)) == (0, 3)


@pytest.mark.gen_test
async def test_everything_is_found_by_the_index(pieces, mongo_uri, database, driver):
    upload = await add_all(pieces, b"abc")
    async with watched(mongo_uri, database, driver) as (store, plans):
        seen = PieceStore(store)
        await seen.end(upload, 0)
        await read(seen, upload, 3)
        await seen.delete(upload)
        assert len(plans.filters) == 4
        assert await plans.scans() == []
