import json

import pytest
from tornado.httpclient import AsyncHTTPClient

from simulators.wechat_pay import make_app


@pytest.mark.gen_test
async def test_the_application_makes_the_merchants_keys_and_remembers_how_to_stop(tmp_path):
    application = make_app(tmp_path / "state", tmp_path / "keys")
    listed = json.loads((tmp_path / "keys" / "wechat_pay.json").read_text())
    server = application.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    unknown = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/v3/nothing/here", raise_error=False)
    server.stop()
    await application.settings["stop"]()
    assert (listed["mchid"], listed["appid"]) == ("1900000109", "wx00000000000demo1")
    assert unknown.code == 404
