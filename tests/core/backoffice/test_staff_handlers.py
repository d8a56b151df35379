import pytest

from core.auth import ROLES
from core.backoffice.staff_handlers import ROUTES, shaped
from core.http import sign_of
from tests.core.partial import caller_of

DOORS = [
    (route, handler, method)
    for route, handler in ROUTES
    for method in ("get", "post", "put", "patch", "delete")
    if sign_of(handler, method)
]


@pytest.mark.rule("R6-3")
@pytest.mark.parametrize(("route", "handler", "method"), DOORS, ids=lambda one: getattr(one, "__name__", str(one)))
@pytest.mark.gen_test
async def test_nobody_but_the_two_keepers_of_accounts_comes_in(api, route, handler, method):
    path = route.removeprefix("/api/v1").replace(r"(\w+)", "x")
    body = {} if method in ("post", "patch") else None
    assert (await api.call(method.upper(), path, body)).status == 401
    for role in set(ROLES) - sign_of(handler, method).roles:
        assert (await api.call(method.upper(), path, body, caller=caller_of(role))).status == 403
    assert sign_of(handler, method).roles <= {"admin", "security_admin"}


def test_a_page_continues_behind_its_last_row():
    rows = [{"id": "c"}, {"id": "b"}, {"id": "a"}]
    assert shaped(rows, 2)["next_cursor"] == "b"
    assert shaped(rows, 3)["next_cursor"] is None
