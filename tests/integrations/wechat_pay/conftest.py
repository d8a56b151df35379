from collections.abc import Iterator

import pytest

from integrations.wechat_pay import WeChatPay, WeChatPayConfig
from simulators.wechat_pay.keys import ensure_keys
from tests.simulators.wechat_pay.stand import Stand


@pytest.fixture(scope="package")
def keys_dir(tmp_path_factory):
    """Made once: two RSA keys take a third of a second."""
    folder = tmp_path_factory.mktemp("keys")
    ensure_keys(folder)
    return folder


@pytest.fixture
def stand(io_loop, tmp_path, keys_dir) -> Iterator[Stand]:
    stand = Stand(tmp_path, keys_dir)
    io_loop.run_sync(stand.start)
    yield stand
    io_loop.run_sync(stand.stop)


@pytest.fixture
def config(stand) -> WeChatPayConfig:
    return WeChatPayConfig.read(
        stand.keys_dir / "wechat_pay.json", notify_url_base=stand.notify_url_base, base_url=stand.url, timeout=2.0
    )


@pytest.fixture
def pay(io_loop, stand, config) -> Iterator[WeChatPay]:
    """The real adapter against the simulator."""
    adapter = WeChatPay(config, now=stand.clock.now)
    io_loop.run_sync(adapter.start)
    yield adapter
    io_loop.run_sync(adapter.stop)
