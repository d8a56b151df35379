from collections.abc import Iterator

import pytest

from simulators.wechat_pay.keys import Keys, ensure_keys
from tests.simulators.wechat_pay.stand import Stand


@pytest.fixture(scope="package")
def keys_dir(tmp_path_factory):
    """Made once: two RSA keys take a third of a second."""
    folder = tmp_path_factory.mktemp("keys")
    ensure_keys(folder)
    return folder


@pytest.fixture
def keys(keys_dir) -> Keys:
    return ensure_keys(keys_dir)


@pytest.fixture
def stand(io_loop, tmp_path, keys_dir) -> Iterator[Stand]:
    stand = Stand(tmp_path, keys_dir)
    io_loop.run_sync(stand.start)
    yield stand
    io_loop.run_sync(stand.stop)
