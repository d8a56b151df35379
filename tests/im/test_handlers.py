"""GET /visits/{id}/messages over real HTTP."""

import json

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.im.house import token

pytestmark = pytest.mark.gen_test(timeout=20)


async def get(server, visit, account, role="patient", query=""):
    answer = await AsyncHTTPClient().fetch(
        f"http://127.0.0.1:{server.port}/api/v1/visits/{visit.id}/messages{query}",
        headers={"Authorization": f"Bearer {token(server.ctx, account, role)}"},
        raise_error=False,
    )
    return answer.code, json.loads(answer.body)


@pytest.fixture
def spoken(io_loop, server, visit):
    """Thirty messages."""

    async def speak():
        line = await server.line(visit.patient)
        for number in range(1, 31):
            await line.say(visit, str(number))

    io_loop.run_sync(speak)
    return visit


@pytest.mark.feature("D5.8")
@pytest.mark.parametrize(
    ("query", "numbers", "more"),
    [
        ("", range(11, 31), True),
        ("?limit=100", range(1, 31), False),
        ("?before=11&limit=5", range(6, 11), True),
        ("?before=4", range(1, 4), False),
        ("?before=1", (), False),
        ("?before=500&limit=2", range(29, 31), True),
        ("?after=0&limit=3", range(1, 4), True),
        ("?after=28", range(29, 31), False),
        ("?after=99", (), False),
    ],
)
async def test_history_is_read_by_number(server, spoken, query, numbers, more):
    code, page = await get(server, spoken, spoken.doctor, "doctor", query)
    assert (code, [one["seq"] for one in page["items"]], page["more"]) == (200, list(numbers), more)
    assert page["last_seq"] == 30
    assert [one["body"]["text"] for one in page["items"]] == [str(number) for number in numbers]


@pytest.mark.parametrize("query", ["?before=0", "?limit=101", "?before=3&after=1", "?after=x", "?other=1"])
async def test_a_query_out_of_bounds_is_invalid(server, visit, query):
    code, problem = await get(server, visit, visit.patient, query=query)
    assert (code, problem["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    ("role", "status", "code"),
    [
        ("patient", 404, "not_found"),
        ("doctor", 404, "not_found"),
        ("nurse", 403, "forbidden"),
        ("admin", 403, "forbidden"),
    ],
)
async def test_others_do_not_read_it(server, visit, role, status, code):
    answered, problem = await get(server, visit, "01KAQ0000000000000000000ZZ", role)
    assert (answered, problem["code"]) == (status, code)


async def test_a_recalled_message_is_listed_without_its_body(server, visit):
    line = await server.line(visit.patient)
    await line.say(visit, "写错了")
    await line.request("message.recall", conversation=visit.id, seq=1)
    _, page = await get(server, visit, visit.doctor, "doctor")
    assert [(one["body"], one.get("recalled")) for one in page["items"]] == [(None, True), ({"recalls": 1}, None)]
