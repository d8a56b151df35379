from datetime import UTC, datetime, timedelta

import pytest
from gridfs import GridFSBucket
from pymongo import MongoClient

from storage.files import CHUNK_BYTES, FileDamaged, FileMissing, FileStore
from storage.indexes import INDEXES, ensure_indexes
from storage.mongo import DuplicateKey
from tests.storage.plans import watched

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
CONTENT = b"".join(n.to_bytes(4, "big") for n in range(3 * CHUNK_BYTES // 4 + 100))


@pytest.fixture(scope="module")
def files(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store, {"files.chunks": INDEXES["files.chunks"]}))
    return FileStore(store)


async def put(files, file_id, content, piece=100_000):
    writer = await files.open_upload(file_id, at=NOW, metadata={"kind": "image"})
    for start in range(0, len(content), piece):
        await writer.write(content[start : start + piece])
    return await writer.finish()


async def collect(files, file_id, start=0, end=None):
    return b"".join([piece async for piece in await files.open_range(file_id, start, end)])


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(CONTENT)])
@pytest.mark.gen_test
async def test_file_comes_back_as_it_was_written(files, length):
    assert await put(files, f"f{length}", CONTENT[:length]) == length
    assert (await files.size(f"f{length}"), await files.read(f"f{length}")) == (length, CONTENT[:length])


@pytest.mark.gen_test
async def test_any_range_is_read(files):
    await put(files, "ranges", CONTENT)
    edges = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, len(CONTENT) - 1, len(CONTENT)]
    for start in edges:
        for end in [edge for edge in edges if edge >= start]:
            assert await collect(files, "ranges", start, end) == CONTENT[start:end], (start, end)


@pytest.mark.gen_test
async def test_range_reads_only_the_chunks_it_touches(files, mongo_uri, database, driver):
    await put(files, "narrow", CONTENT)
    async with watched(mongo_uri, database, driver) as (store, plans):
        assert (
            await collect(FileStore(store), "narrow", CHUNK_BYTES + 5, 2 * CHUNK_BYTES)
            == (CONTENT[CHUNK_BYTES + 5 : 2 * CHUNK_BYTES])
        )
        assert plans.filters == [
            ("files.files", {"_id": "narrow"}),
            ("files.chunks", {"files_id": "narrow", "n": {"$gte": 1, "$lt": 2}}),
        ]
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_reader_holds_a_few_chunks_at_a_time(files, mongo_uri, database, driver):
    await put(files, "long", bytes(6 * CHUNK_BYTES))
    async with watched(mongo_uri, database, driver) as (store, plans):
        reading = await FileStore(store).open_range("long")
        await anext(reading)
        assert [sent["n"] for _, sent in plans.filters[1:]] == [{"$gte": 0, "$lt": 4}]
        await reading.aclose()


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 11), (11, None)])
@pytest.mark.gen_test
async def test_range_outside_the_file_is_refused_before_the_first_piece(files, start, end):
    await put(files, f"ten{start}", b"0123456789")
    with pytest.raises(ValueError, match="no range"):
        await files.open_range(f"ten{start}", start, end)
    await files.delete(f"ten{start}")


@pytest.mark.gen_test
async def test_missing_file_is_told(files):
    for look in (files.size, files.open_range, files.read):
        with pytest.raises(FileMissing):
            await look("nothing")


@pytest.mark.gen_test
async def test_unfinished_upload_is_no_file(files):
    writer = await files.open_upload("half", at=NOW)
    await writer.write(CONTENT)
    with pytest.raises(FileMissing):
        await files.size("half")
    await writer.abort()
    with pytest.raises(ValueError, match="over"):
        await writer.write(b"more")


@pytest.mark.gen_test
async def test_aborted_upload_leaves_nothing(files, store):
    writer = await files.open_upload("gone", at=NOW)
    await writer.write(CONTENT)
    await writer.abort()
    assert await store.db["files.chunks"].count_documents({"files_id": "gone"}) == 0


@pytest.mark.gen_test
async def test_upload_begun_again_after_a_crash_clears_what_was_left(files):
    crashed = await files.open_upload("again", at=NOW)
    await crashed.write(CONTENT)
    await put(files, "again", b"short")
    assert await files.read("again") == b"short"


@pytest.mark.gen_test
async def test_finished_file_is_never_replaced(files):
    await put(files, "once", b"first")
    with pytest.raises(FileExistsError):
        await files.open_upload("once", at=NOW)
    assert await files.read("once") == b"first"


@pytest.mark.gen_test
async def test_of_two_uploads_at_once_the_faster_stays_whole(files):
    faster, slower = [await files.open_upload("race", at=NOW) for _ in range(2)]
    await faster.write(CONTENT)
    with pytest.raises(DuplicateKey):
        await slower.write(bytes(len(CONTENT)))
    await slower.abort()
    await faster.finish()
    assert await files.read("race") == CONTENT


@pytest.mark.gen_test
async def test_missing_chunk_is_damage_not_a_short_answer(files, store):
    await put(files, "torn", CONTENT)
    await store.db["files.chunks"].delete_one({"files_id": "torn", "n": 1})
    assert await collect(files, "torn", 2 * CHUNK_BYTES) == CONTENT[2 * CHUNK_BYTES :]
    with pytest.raises(FileDamaged):
        await collect(files, "torn", 0)


@pytest.mark.gen_test
async def test_deleted_file_leaves_nothing(files, store):
    await put(files, "old", CONTENT)
    assert await files.delete("old")
    assert not await files.delete("old")
    assert await store.db["files.chunks"].count_documents({"files_id": "old"}) == 0


@pytest.mark.gen_test
async def test_any_gridfs_reader_understands_the_form(files, mongo_uri, database):
    await put(files, "foreign", CONTENT)
    with MongoClient(mongo_uri) as client:
        stream = GridFSBucket(client[database], "files").open_download_stream("foreign")
        assert (stream.read(), stream.length, stream.metadata) == (CONTENT, len(CONTENT), {"kind": "image"})


@pytest.mark.gen_test
async def test_a_file_of_the_disk_is_put_once_and_fetched_as_it_was(files, tmp_path):
    (tmp_path / "given").write_bytes(CONTENT)
    for _ in range(2):
        assert await files.put("disk", tmp_path / "given", at=NOW, metadata={"kind": "x"}) == len(CONTENT)
    await files.fetch("disk", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == CONTENT
    (tmp_path / "given").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        await files.put("disk", tmp_path / "given", at=NOW)
    with pytest.raises(FileMissing):
        await files.fetch("no-such-file", tmp_path / "fetched")


@pytest.mark.gen_test
async def test_a_put_that_fails_leaves_nothing(files, store, tmp_path, monkeypatch):
    (tmp_path / "given").write_bytes(CONTENT)

    async def fail(self):
        raise ConnectionError("away")

    with monkeypatch.context() as broken:
        broken.setattr("storage.files.FileWriter.finish", fail)
        with pytest.raises(ConnectionError):
            await files.put("failing", tmp_path / "given", at=NOW)
    assert await store.db["files.chunks"].count_documents({"files_id": "failing"}) == 0
    assert await files.put("failing", tmp_path / "given", at=NOW) == len(CONTENT)


@pytest.mark.gen_test
async def test_lengths_and_names_of_many_files_are_told(files):
    await put(files, "told:1", b"1")
    await put(files, "told:2", b"22")
    await put(files, "untold", b"333")
    assert await files.sizes(["told:1", "told:2", "told:3"]) == {"told:1": 1, "told:2": 2}
    assert await files.sizes([]) == {}

    async def names(until):
        return [name async for batch in files.names("told:", until=until) for name in batch]

    assert sorted(await names(NOW + timedelta(seconds=1))) == ["told:1", "told:2"]
    assert await names(NOW) == []
