import subprocess
import sys

import pytest

from simulators.store import Store


@pytest.fixture
def store(io_loop, tmp_path):
    opened = Store(tmp_path / "folder" / "state.sqlite3")
    yield opened
    io_loop.run_sync(opened.stop)


def test_newest_document_of_a_key_is_the_latest(store):
    store.append("message", "a", 1.0, {"text": "一"})
    store.append("message", "a", 2.0, {"text": "二"})
    store.append("message", "b", 3.0, {"text": "三"})
    store.append("other", "a", 4.0, {"text": "四"})
    assert (store.latest("message", "a"), store.latest("message", "c")) == ({"text": "二"}, None)
    assert (store.count("message", "a"), store.count("message", "a", since=2.0)) == (2, 1)


def test_replaced_document_is_the_only_one(store):
    store.append("message", "a", 1.0, {"n": 1})
    store.replace("message", "a", 2.0, {"n": 2})
    assert (store.latest("message", "a"), store.count("message", "a")) == ({"n": 2}, 1)


def test_removed_and_forgotten_documents_are_gone(store):
    for at in (1.0, 2.0, 3.0):
        store.append("message", str(at), at, {})
    store.remove("message", "3.0")
    store.forget("message", before=2.0)
    assert [store.count("message", key) for key in ("1.0", "2.0", "3.0")] == [0, 1, 0]


def test_killed_process_loses_nothing(io_loop, tmp_path):
    writer = (
        "import os, pathlib, signal, sys; from simulators.store import Store;"
        "Store(pathlib.Path(sys.argv[1])).replace('message', 'a', 1.0, {'n': 1});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = tmp_path / "state.sqlite3"
    ended = subprocess.run([sys.executable, "-c", writer, file], timeout=30, check=False)
    store = Store(file)
    assert (ended.returncode, store.latest("message", "a")) == (-9, {"n": 1})
    io_loop.run_sync(store.stop)
