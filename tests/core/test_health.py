import re
from types import MappingProxyType
from typing import Any

import pytest
import structlog
from pymongo.errors import ServerSelectionTimeoutError

from core.errors import CODES
from core.health import ROUTES, OpenApiHandler
from tests.core.doors import open_doors, partial_context

DESCRIBED = MappingProxyType({"openapi": "3.1.0", "info": {"title": "互联网医院"}})


class SettableBus:
    """As much of the bus as readiness asks for."""

    available = True


@pytest.fixture(autouse=True)
def logs():
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def doors(io_loop, store, redis):
    ctx: Any = partial_context(store, redis, None)
    ctx.bus = SettableBus()
    routes = [*ROUTES, (r"/api/v1/openapi.json", OpenApiHandler, {"described": dict(DESCRIBED)})]
    with open_doors(io_loop, ctx, routes) as opened:
        yield opened


@pytest.mark.gen_test
async def test_a_living_process_says_so(doors):
    answer = await doors.ask("GET", "/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.gen_test
async def test_ready_means_that_the_store_took_a_write(doors):
    answer = await doors.ask("GET", "/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\n")
    [probe] = await doors.ctx.store.db["probes"].find({}).to_list(2)
    assert probe["at"] == doors.ctx.clock.now()


@pytest.mark.gen_test
async def test_without_redis_it_is_alive_and_not_ready(doors):
    doors.ctx.bus.available = False
    answer = await doors.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert (await doors.ask("GET", "/healthz")).status_code == 200


@pytest.mark.gen_test
async def test_without_the_store_it_is_alive_and_not_ready(doors, monkeypatch):
    async def away(now):
        raise ServerSelectionTimeoutError("127.0.0.1:27017 refused")

    monkeypatch.setattr(doors.ctx.store, "ping_write", away)
    answer = await doors.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "27017" not in answer.text
    assert (await doors.ask("GET", "/healthz")).status_code == 200


@pytest.mark.gen_test
async def test_metrics_are_in_the_exposition_format(doors):
    await doors.ask("GET", "/healthz")
    answer = await doors.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    labels = 'handler="AliveHandler",method="GET",status="200"'
    assert re.search(rf"^http_request_seconds_count{{{labels}}} [1-9]", answer.text, re.MULTILINE)


@pytest.mark.gen_test
async def test_the_description_is_served_as_it_was_made(doors):
    answer = await doors.ask("GET", "/api/v1/openapi.json")
    assert (answer.json(), answer.headers["Content-Type"]) == (dict(DESCRIBED), "application/json; charset=utf-8")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
async def test_the_page_loads_only_what_this_server_serves(doors, path):
    page = await doors.ask("GET", path)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) == 3
    for source in sources:
        part = await doors.ask("GET", source)
        assert (part.status_code, part.headers["Content-Type"]) == (200, kinds[source.rpartition(".")[2]])
    assert "'/api/v1/openapi.json'" in (await doors.ask("GET", "/api/docs/start.js")).text


@pytest.mark.gen_test
async def test_every_code_has_its_place_on_the_page_that_problems_point_to(doors):
    page = await doors.ask("GET", "/api/docs/errors")
    for name, code in CODES.items():
        assert f'<tr id="{name}"><td><code>{name}</code></td><td>{code.status}</td><td>{code.title}</td>' in page.text


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/docs/..", "/api/docs/swagger-ui.js", "/api/docserrors", "/api/docs/a/b"])
async def test_nothing_else_of_the_package_is_served(doors, path):
    answer = await doors.ask("GET", path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
