import httpx
import pytest
from tornado.web import Application, HTTPError

from simulators import control
from tests.simulators.wechat_pay.stand import Served


class Page(control.ControlHandler):
    """Answers the body it was sent."""

    def post(self) -> None:
        body = self.body()
        if "refuse" in body:
            raise HTTPError(409, reason="refused as asked")
        self.reply(body, status=201)


async def post(content: bytes) -> httpx.Response:
    served = Served(Application([("/_control/page", Page)], log_function=lambda handler: None))
    try:
        async with httpx.AsyncClient(base_url=served.url, verify=False) as client:
            return await client.post("/_control/page", content=content)
    finally:
        await served.stop()


@pytest.mark.gen_test
async def test_json_comes_in_and_goes_out():
    answer = await post('{"name": "张三"}'.encode())
    assert (answer.status_code, answer.json()) == (201, {"name": "张三"})


@pytest.mark.gen_test
async def test_no_body_is_an_empty_object():
    assert (await post(b"")).json() == {}


@pytest.mark.parametrize(
    ("content", "error"), [(b"{", "the body is not JSON"), (b"[]", "the body is not a JSON object")]
)
@pytest.mark.gen_test
async def test_what_is_no_object_is_refused(content, error):
    answer = await post(content)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.gen_test
async def test_a_refusal_says_why():
    answer = await post(b'{"refuse": true}')
    assert (answer.status_code, answer.json()) == (409, {"error": "refused as asked"})


@pytest.mark.gen_test
async def test_a_stranger_is_turned_away(monkeypatch):
    monkeypatch.setattr(control, "LOOPBACK", frozenset({"192.0.2.1"}))
    answer = await post(b"{}")
    assert (answer.status_code, answer.json()) == (403, {"error": "loopback only"})
