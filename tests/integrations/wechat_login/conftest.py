"""Clients of the two mini-programs of the simulator."""

import pytest

from integrations.wechat_login import MiniProgram, WeChatCalls, WeChatLoginClient
from simulators.wechat_login import make_app
from tests.simulators.serving import serve


@pytest.fixture
def wechat(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.fixture
def calls_of(io_loop, wechat):
    """Makes the started calls of a mini-program."""
    made = []

    async def make(app="patient", tokens=None, **changes):
        keys = wechat.keys[app]
        given = {"appid": keys["appid"], "secret": keys["secret"], "endpoint": wechat.url} | changes
        made.append(WeChatCalls(MiniProgram(**given), tokens))
        await made[-1].start()
        return made[-1]

    yield make
    for calls in made:
        io_loop.run_sync(calls.close)


@pytest.fixture
def client_of(calls_of):
    """Makes a client of a mini-program's login."""

    async def make(app="patient", tokens=None, **changes):
        return WeChatLoginClient(await calls_of(app, tokens, **changes))

    return make


@pytest.fixture
def client(io_loop, client_of):
    return io_loop.run_sync(client_of)
