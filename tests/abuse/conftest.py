from collections.abc import Iterator

import pytest

from tests.abuse.subjects import Subjects, open_subjects


@pytest.fixture(scope="module")
def subjects(io_loop, mongo_uri, redis_url, database, tmp_path_factory) -> Iterator[Subjects]:
    """One of everything, and of everybody, for the module."""
    opened = open_subjects(mongo_uri, redis_url, tmp_path_factory.mktemp("subjects"), database)
    yield io_loop.run_sync(opened.__aenter__, timeout=120)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)
