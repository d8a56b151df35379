import asyncio
from contextlib import suppress

import httpx
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.ports import Rejected, Unavailable
from integrations.wechat_pay.calls import Answer, call, require_success


def answering(status, body):
    async def send():
        return status, body

    return send


def failing(failure):
    async def send():
        raise failure

    return send


async def ask(send, seconds=1.0):
    return await call("query", "ORDER1", send, seconds=seconds)


@pytest.mark.gen_test
async def test_a_document_and_an_empty_answer_are_success():
    assert await ask(answering(200, '{"a": 1}')) == Answer({"a": 1}, None)
    assert await ask(answering(204, b"")) == Answer({}, None)


@pytest.mark.gen_test
async def test_a_refusal_keeps_its_code_and_message():
    answer = await ask(answering(404, '{"code": "ORDER_NOT_EXIST", "message": "订单不存在"}'))
    assert answer == Answer({}, "ORDER_NOT_EXIST", "订单不存在")
    with pytest.raises(Rejected, match="ORDER_NOT_EXIST: 订单不存在"):
        require_success(answer)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, '{"code": "SYSTEM_ERROR"}'),
        (502, "<html>"),
        (503, b"<html>"),
        (429, '{"code": "FREQUENCY_LIMITED"}'),
        (403, '{"code": "SYSTEM_ERROR"}'),
        (404, "<html>not the gateway</html>"),
        (400, "[]"),
        (400, "{}"),
        (302, ""),
        (200, "not json"),
        (200, "[1]"),
    ],
)
@pytest.mark.gen_test
async def test_what_says_nothing_certain_is_unavailable(status, body):
    with pytest.raises(Unavailable):
        await ask(answering(status, body))


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.DecodingError("gzip")]
)
@pytest.mark.gen_test
async def test_a_broken_connection_is_unavailable(failure):
    with pytest.raises(Unavailable, match=type(failure).__name__):
        await ask(failing(failure))


@pytest.mark.gen_test
async def test_a_call_ends_at_its_bound():
    with pytest.raises(Unavailable, match="TimeoutError"):
        await ask(asyncio.Event().wait, seconds=0.01)


@pytest.mark.gen_test
async def test_the_librarys_bare_exception_is_a_forged_answer():
    with capture_logs() as logs, pytest.raises(Unavailable, match="signature"):
        await ask(failing(Exception("failed to verify the signature")))
    assert [(line["status"], line["code"]) for line in logs] == [(0, "forged")]


@pytest.mark.gen_test
async def test_a_mistake_of_ours_is_not_hidden():
    with capture_logs() as logs, pytest.raises(TypeError):
        await ask(failing(TypeError("missing argument")))
    assert len(logs) == 1


@pytest.mark.parametrize(
    ("send", "outcome"),
    [
        (answering(204, b""), "ok"),
        (answering(404, '{"code": "ORDER_NOT_EXIST"}'), "refused"),
        (answering(403, '{"code": "SYSTEM_ERROR"}'), "unavailable"),
        (answering(200, "not json"), "unavailable"),
        (failing(httpx.ReadTimeout("slow")), "unavailable"),
        (failing(Exception("failed to verify the signature")), "unavailable"),
    ],
)
@pytest.mark.gen_test
async def test_a_call_is_counted_by_what_became_of_it_and_not_by_the_gateways_many_codes(send, outcome):
    labels = {"system": "wechat_pay", "action": "query"}

    def counted() -> dict[str, float]:
        name = "outside_call_seconds_count"
        outcomes = ("ok", "refused", "unavailable")
        return {one: REGISTRY.get_sample_value(name, {**labels, "outcome": one}) or 0.0 for one in outcomes}

    before = counted()
    with suppress(Unavailable):
        await ask(send)
    assert counted() == {one: count + (one == outcome) for one, count in before.items()}


def test_success_requires_nothing():
    require_success(Answer({}, None))
