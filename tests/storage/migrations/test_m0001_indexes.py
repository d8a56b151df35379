import pytest

from storage import indexes
from storage.migrations import m0001_indexes


@pytest.mark.gen_test(timeout=20)
async def test_running_it_twice_is_running_it_once(store):
    await m0001_indexes.up(store, None)
    before = await store.db["visits"].index_information()
    await m0001_indexes.up(store, None)
    assert await store.db["visits"].index_information() == before


def test_it_runs_again_when_the_table_changes(monkeypatch):
    before = m0001_indexes.fingerprint()
    assert before == indexes.fingerprint(indexes.INDEXES)
    monkeypatch.setitem(indexes.INDEXES, "new", [indexes.ascending("x")])
    assert m0001_indexes.fingerprint() != before
